// NVIDIA's assembler (ptxas), where it is installed: PTX -> machine code of one kind of GPU.
#ifndef QUERN_LIB_PIPELINES_ASSEMBLER_H
#define QUERN_LIB_PIPELINES_ASSEMBLER_H

#include "quern/Support/Result.h"

#include <string>

namespace quern::pipelines {

/// The program. `chosen` is its path or name, "none", or "": what PATH has, else the `bin` of CUDA_HOME. Empty for none;
/// fails only where the chosen one is not there.
Result<std::string> findAssembler(const std::string &chosen);

/// Machine code for one compute capability ("86"). Fails with what the program says.
Result<std::string> assemble(const std::string &program, const std::string &ptx, const std::string &capability);

} // namespace quern::pipelines

#endif // QUERN_LIB_PIPELINES_ASSEMBLER_H
