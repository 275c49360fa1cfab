// quern-translate: mlir-translate with our importers and exporters.
#include "quern/Codegen/DeviceCode.h"
#include "quern/Codegen/Spirv.h"
#include "quern/Import/ImportGGUF.h"
#include "tools/FormatFiles.h"

#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"

int main(int argc, char **argv) {
  quern::import::registerGGUFTranslation(quern::tools::addFormatFiles);
  quern::import::registerModelTranslations(quern::tools::addFormatFiles);
  quern::codegen::registerPtxTranslation();
  quern::codegen::registerProgramTranslation();
  quern::codegen::registerSpirvTranslation();
  return mlir::failed(mlir::mlirTranslateMain(argc, argv, "Quern's importers and exporters"));
}
