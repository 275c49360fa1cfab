// Reads safetensors checkpoints, one file or shards with an index: names, element types and shapes, and the data as
// spans of the mapped files. Trusts nothing: a checkpoint that opened is consistent, and each refusal is one sentence
// naming the file and the tensor. Free of MLIR.
#ifndef QUERN_IMPORT_SAFETENSORS_H
#define QUERN_IMPORT_SAFETENSORS_H

#include "quern/Support/MappedFile.h"
#include "quern/Support/Result.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern::safetensors {

/// The longest header that is read, the format's own limit.
inline constexpr uint64_t kMaxHeader = 100'000'000;

struct Tensor {
  std::string name;
  std::string_view dtype;      ///< "BF16", "F8_E4M3", "I32", ...; of static life
  uint32_t bits;               ///< of one element
  std::vector<uint64_t> shape; ///< outermost dimension first, row-major; empty for one element; dimensions may be 0
  uint64_t elements;
  std::span<const std::byte> data;
  uint32_t part;   ///< which of the checkpoint's files holds it
  uint64_t offset; ///< of the first byte, from the start of that file; a multiple of the element's size
};

/// The elements of a tensor of F32, F16 or BF16, in f32.
std::vector<float> toFloats(const Tensor &tensor);

/// Parses one file's bytes, which must outlive the result; `path` is for errors, `part` for the tensors. In the order
/// of the data. Refuses: a header longer than the file or than kMaxHeader, that is no JSON object of tensor
/// descriptions, or says something twice; unknown element types; data that overlap, leave gaps, end elsewhere than the
/// file, are not aligned to their elements, or have another size than shape and type say.
Result<std::vector<Tensor>> parse(std::span<const std::byte> bytes, const std::string &path, uint32_t part = 0);

/// An opened checkpoint: all its files stay mapped while it lives.
class Checkpoint {
public:
  /// Opens `folder`/model.safetensors, or the files that `folder`/model.safetensors.index.json names.
  static Result<Checkpoint> open(const std::string &folder);

  /// By name.
  const std::map<std::string, Tensor> &tensors() const { return byName; }
  /// Null if there is none of that name.
  const Tensor *find(const std::string &name) const;

  struct Part {
    std::string path;
    MappedFile mapping;
  };
  std::span<const Part> parts() const { return partList; }
  /// Gives the mappings away; the tensors' spans live as long as they do.
  std::vector<Part> takeParts() && { return std::move(partList); }

private:
  Status addPart(const std::string &path);
  Status addShards(const std::string &folder, const std::string &index);

  std::vector<Part> partList;
  std::map<std::string, Tensor> byName;
};

} // namespace quern::safetensors

#endif // QUERN_IMPORT_SAFETENSORS_H
