// From one GGUF file to another with other types: what each tensor becomes, and the doing, streaming.
#ifndef QUERN_QUANTIZE_QUANTIZEFILE_H
#define QUERN_QUANTIZE_QUANTIZEFILE_H

#include "quern/Import/GGUF.h"
#include "quern/Quantize/Assignment.h"
#include "quern/Quantize/Importance.h"

#include <functional>

namespace quern::quantize {

/// What one tensor becomes.
struct TensorPlan {
  const gguf::Tensor *tensor;
  const ElementType *from, *to; ///< both null for types that are no floats; then, and where equal, the bytes are copied
  uint64_t bytes;               ///< of the outcome
  const float *importance = nullptr;
  uint64_t headDim = 0;         ///< if not 0, rows are brought from heads in halves to pairs, as GGUF has them

  bool copied() const { return from == to; }
  /// A vector is one row, but where heads are brought into pairs each of its elements is one.
  uint64_t columns() const { return headDim && tensor->dims.size() == 1 ? 1 : tensor->dims[0]; }
  uint64_t rows() const { return tensor->elements / columns(); }
};

struct FilePlan {
  std::vector<TensorPlan> tensors; ///< in the file's order
  uint32_t fileType;               ///< GGUF's `general.file_type`
  uint64_t bytes() const;          ///< of all tensors, each padded
};

struct FileOptions {
  std::unique_ptr<Assignment> assignment;
  std::optional<Importance> importance;
  bool allowRequantize = false;                     ///< else tensors that are blocks already must keep their type
  unsigned threads = 1;
  std::function<void(double fraction)> progress;    ///< may be empty
};

/// Errors: what the assignment refuses; types that GGUF does not have; quantizing twice without leave.
Result<FilePlan> planFile(const gguf::File &file, const ElementTypes &types, const FileOptions &options);

/// Writes the file at `output`, whole or not at all. Holds a few pieces of tensors in memory at a time, and lets go of
/// the source's pages behind it. Errors: a weight that is infinite or no number; the disk.
Status writeFile(const gguf::File &file, const FilePlan &plan, const FileOptions &options, const std::string &output);

} // namespace quern::quantize

#endif // QUERN_QUANTIZE_QUANTIZEFILE_H
