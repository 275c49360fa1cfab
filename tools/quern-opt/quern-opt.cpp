// quern-opt: mlir-opt with our dialects and passes.
#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"
#include "dialects/Onnx/Onnx.h"
#include "quern/Codegen/Passes.h"
#include "quern/Codegen/Spirv.h"
#include "quern/Import/Onnx/Passes.h"
#include "quern/Transforms/Passes.h"
#include "tools/FormatFiles.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

using namespace mlir;

int main(int argc, char **argv) {
  registerAllPasses();
  quern::import::registerOnnxPasses();
  quern::transforms::registerTransformsPasses();
  quern::codegen::registerCodegenPasses();
  quern::codegen::registerGPUCodegenPasses();
  quern::codegen::registerSpirvPasses();
  DialectRegistry registry;
  registerAllDialects(registry);
  registerAllExtensions(registry);
  registry.insert<quern::dq::DQDialect, quern::lm::LMDialect, quern::onnxir::OnnxDialect>();
  quern::tools::addFormatFiles(registry);
  return asMainReturnCode(MlirOptMain(argc, argv, "Quern's optimizer driver\n", registry));
}
