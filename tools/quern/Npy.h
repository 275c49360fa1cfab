// Arrays in numpy's .npy files, versions 1 to 3; row-major, little-endian.
#ifndef QUERN_TOOLS_NPY_H
#define QUERN_TOOLS_NPY_H

#include "quern/Support/Result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace quern::cli {

struct NpyArray {
  std::string type; ///< as packages say it: "f32", "i64", "bool"
  std::vector<int64_t> shape;
  std::string bytes;
};

/// Reads a whole file; errors name it.
Result<NpyArray> readNpy(const std::string &path);

/// Writes by atomic rename. bf16, which numpy lacks, is written as its bits (u16).
Status writeNpy(const std::string &path, const std::string &type, const std::vector<int64_t> &shape, const void *data,
                uint64_t bytes);

} // namespace quern::cli

#endif // QUERN_TOOLS_NPY_H
