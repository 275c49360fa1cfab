// Which type each tensor of a model gets: by a standard mix, or by a recipe. Free of MLIR, and of the file that holds
// the tensors, so that quantizing a file and quantizing while compiling give the same.
#ifndef QUERN_QUANTIZE_ASSIGNMENT_H
#define QUERN_QUANTIZE_ASSIGNMENT_H

#include "quern/Quantize/ElementTypes.h"
#include "quern/Support/Result.h"

#include <cstdint>
#include <memory>
#include <optional>

namespace quern::quantize {

struct TensorShape {
  std::string name;
  std::vector<uint64_t> dims; ///< ne0, the contiguous dimension, first
};

/// Matrices whose name ends in "weight"; norms, biases and other vectors keep their type in every mix.
bool isQuantizable(const TensorShape &tensor);

class Assignment {
public:
  virtual ~Assignment() = default;

  /// One type for each tensor; null: it keeps the one it has. `weighted` says whether there are importance weights.
  /// Errors name the tensor or the recipe's key and what to do.
  virtual Result<std::vector<const ElementType *>> assign(std::span<const TensorShape> tensors,
                                                          const ElementTypes &types, bool weighted) const = 0;
  /// GGUF's `general.file_type` for the outcome, where the assignment has one of its own.
  virtual std::optional<uint32_t> fileType() const { return std::nullopt; }
};

/// What a user asks for: a mix or a recipe, and how to follow it.
struct AssignmentChoice {
  std::string mix;    ///< name of a standard mix
  std::string recipe; ///< path
  std::string importance; ///< path of a file that tells how much each column matters; empty: none
  bool allowRequantize = false; ///< else tensors that are blocks already must keep their type

  bool given() const { return !mix.empty() || !recipe.empty(); }
};

/// An error if the choice names both or neither.
Result<std::unique_ptr<Assignment>> makeAssignment(const AssignmentChoice &choice);

/// Refuses the change of a tensor that is no number, or quantized already without leave. `tensor` is its name for
/// messages, quoted; `from` is null for types that hold no numbers.
Status checkChange(std::string_view tensor, const ElementType *from, const ElementType &to, bool allowRequantize);

/// A mix by name, e.g. "Q5_K_M" or "Q8_0", tensor for tensor as llama.cpp makes it. A type whose blocks do not divide a
/// row is replaced by one whose do.
Result<std::unique_ptr<Assignment>> standardMix(std::string_view name);
/// The names, for help and errors.
std::string standardMixNames();

/// A JSON object from tensor name to type. A key may also be a regular expression (ECMAScript) for whole names; it then
/// means matrices only. A tensor's own name goes before patterns, and of patterns the first counts. Tensors that no key
/// names keep their type; a key that names no tensor is an error, and so is a type whose blocks do not divide the row.
Result<std::unique_ptr<Assignment>> readRecipe(const std::string &path);

} // namespace quern::quantize

#endif // QUERN_QUANTIZE_ASSIGNMENT_H
