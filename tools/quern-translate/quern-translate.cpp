// quern-translate: mlir-translate with our importers.
#include "quern/Import/ImportGGUF.h"

#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"

int main(int argc, char **argv) {
  quern::import::registerGGUFTranslation();
  return mlir::failed(mlir::mlirTranslateMain(argc, argv, "Quern's importers and exporters"));
}
