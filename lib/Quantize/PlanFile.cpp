#include "quern/Quantize/QuantizeFile.h"

#include "FileType.h"
#include "quern/Import/WriteGGUF.h"

#include <map>

using namespace quern;
using namespace quern::quantize;

static constexpr uint64_t kAlignment = 32; // GGUF's usual one, which the writer keeps

uint64_t FilePlan::bytes() const {
  uint64_t sum = 0;
  for (const TensorPlan &tensor : tensors)
    sum += (tensor.bytes + kAlignment - 1) / kAlignment * kAlignment;
  return sum;
}

static Status check(const gguf::File &file, const TensorPlan &plan, bool allowRequantize) {
  if (plan.copied())
    return {};
  if (plan.to->ggufType < 0)
    return fail(file.path() + ": tensor " + file.described(plan.tensor->name) + " would become " + plan.to->name +
                ", for which GGUF has no type; choose another format, or compile straight to a package");
  if (Status status = checkChange(file.described(plan.tensor->name), plan.from, *plan.to, allowRequantize); !status)
    return fail(file.path() + ": " + status.error().message);
  return {};
}

/// The number of the type that most weights have.
static uint32_t commonFileType(const std::vector<TensorPlan> &tensors) {
  std::map<std::string_view, uint64_t> elements;
  for (const TensorPlan &plan : tensors)
    if (plan.to)
      elements[plan.to->name] += plan.tensor->elements;
  std::pair<std::string_view, uint64_t> most = {"F32", 0};
  for (const auto &entry : elements)
    if (entry.second > most.second)
      most = entry;
  return fileTypeOf(most.first).value_or(0);
}

Result<FilePlan> quantize::planFile(const gguf::File &file, const ElementTypes &types, const FileOptions &options) {
  QUERN_TRY(import::refuseReordered(file));
  std::vector<TensorShape> shapes;
  for (const gguf::Tensor &tensor : file.tensors())
    shapes.push_back({std::string(tensor.name), tensor.dims});
  QUERN_ASSIGN(auto chosen, options.assignment->assign(shapes, types, options.importance.has_value()));
  uint64_t headDim = 0;
  if (file.hasHeadsInHalves()) {
    QUERN_ASSIGN(headDim, file.get<uint64_t>("llama.rope.dimension_count"));
  }
  FilePlan plan;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const gguf::Tensor &tensor = file.tensors()[i];
    // Formats without a number in GGUF have one in the table of open files only.
    const ElementType *from = types.find(tensor.typeId);
    from = from ? from : types.find(tensor.type->name);
    TensorPlan one{&tensor, from, chosen[i] ? chosen[i] : from, tensor.bytes()};
    one.headDim = import::hasRotatedHeads(tensor.name) ? headDim : 0;
    QUERN_TRY(check(file, one, options.allowRequantize));
    if (!one.copied())
      one.bytes = tensor.elements / one.to->block * one.to->bytes;
    if (options.importance && one.to && one.to->spec) {
      QUERN_ASSIGN(one.importance, options.importance->find(tensor.name, tensor.dims[0]));
    }
    plan.tensors.push_back(one);
  }
  plan.fileType = options.assignment->fileType().value_or(commonFileType(plan.tensors));
  return plan;
}
