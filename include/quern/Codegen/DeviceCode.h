// From a planned module to what a package holds for a device: the rotary tables among its weights, the code of its
// kernels, and the list of their launches.
#ifndef QUERN_CODEGEN_DEVICECODE_H
#define QUERN_CODEGEN_DEVICECODE_H

#include "dialects/DQ/DQ.h"
#include "quern/Codegen/GPU.h"
#include "quern/Runtime/DeviceProgram.h"

namespace quern::codegen {

/// On a `lm.rotary_angles`: the source with its table.
inline constexpr char kRotaryTable[] = "gpu.rotary_table";

/// Adds a source for the table of each `lm.rotary_angles`, for positions below `positions`. `file` gives the bytes of
/// frequency factors. Errors name the weight.
Status makeRotaryTables(mlir::ModuleOp module, const dq::SourceReader &file, int64_t positions);

/// The program that the host's functions of a module make up (`gpu-lower-to-launches`). What is wrong is told by
/// diagnostics.
mlir::FailureOr<DeviceProgram> translateToProgram(mlir::ModuleOp module);

/// `quern-translate --gpu-to-program`.
void registerProgramTranslation();

} // namespace quern::codegen

#endif // QUERN_CODEGEN_DEVICECODE_H
