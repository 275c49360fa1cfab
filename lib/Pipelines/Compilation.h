// A compilation in progress: the module, its phases, and what the package will say of it.
#ifndef QUERN_LIB_PIPELINES_COMPILATION_H
#define QUERN_LIB_PIPELINES_COMPILATION_H

#include "PhaseRunner.h"
#include "Targets.h"
#include "quern/Codegen/CacheLayout.h"
#include "quern/Codegen/Image.h"
#include "quern/Codegen/PackPlan.h"
#include "quern/Import/ImportGGUF.h"
#include "quern/Import/Onnx/OnnxFile.h"
#include "quern/Package/PackageWriter.h"
#include "quern/Pipelines/Compile.h"
#include "quern/Runtime/DeviceProgram.h"
#include "quern/Runtime/Manifest.h"

#include "mlir/IR/MLIRContext.h"

#include <array>
#include <map>
#include <nlohmann/json.hpp>

namespace quern::pipelines {

/// Compiles an ONNX file that is a graph of any kind.
Status compileGraph(const CompileOptions &options, import::OnnxFile file);

class Compilation {
public:
  /// `onnx`: the input, if it is an ONNX file.
  explicit Compilation(const CompileOptions &options, std::shared_ptr<import::OnnxFile> onnx);

  /// Imports, runs the phases up to the plan, and makes an image for each target. False: stopped where asked to.
  Result<bool> compile();
  /// Packs the weights and writes the package.
  Status write();

private:
  Result<bool> open();
  Result<bool> raiseOnnx();
  Result<bool> runPhases();
  Result<bool> emitTargets();
  Result<bool> emitTarget(const codegen::Target &target);
  Result<bool> planDevices();
  Result<bool> emitDevice(const DeviceTarget &target);
  Result<std::map<std::string, std::string>> makeMachineCode(const DeviceTarget &target, const std::string &ptx) const;
  void report(std::string_view stage, double fraction) const {
    if (options.progress)
      options.progress(stage, fraction);
  }
  Status writeWeights(package::PackageWriter &writer, const char *section, mlir::ModuleOp packed,
                      codegen::PackedFor packedFor);
  Manifest describe() const;
  std::string describePlan() const;

  const CompileOptions &options;
  mlir::MLIRContext context;
  PhaseRunner phases;
  std::shared_ptr<import::OnnxFile> onnx; ///< null: the input is none
  std::optional<gguf::File> file;
  import::ModelConfig config;
  TokenizerImage tokenizer;
  std::string chatTemplate;
  TargetChoice targets;
  std::string assembler; ///< of machine code for GPUs; empty: none
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::OwningOpRef<mlir::ModuleOp> deviceModule; ///< packed and planned for GPUs; null: for none
  struct Emitted {
    const codegen::Target *target;
    codegen::CodeImage image;
    std::array<nlohmann::ordered_json, std::size(codegen::kCacheKinds)> ops; ///< of each kind, see codegen::kOpTable
  };
  std::vector<Emitted> emitted;
  struct EmittedDevice {
    const codegen::GpuTarget *target;
    DeviceProgram program;
    std::string code;
    std::map<std::string, std::string> machineCode; ///< by compute capability
  };
  std::vector<EmittedDevice> devices;
  std::vector<int64_t> arenaSizes;
  int64_t arenaPerThread = 0;
};

} // namespace quern::pipelines

#endif // QUERN_LIB_PIPELINES_COMPILATION_H
