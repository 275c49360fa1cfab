#include "Request.h"

#include "quern/Runtime/ElementBytes.h"

#include <cstring>

namespace quern::runtime {

Request::Request(Model &model)
    : owner(model), inputs(model.manifest().inputs.size()), rooms(model.manifest().outputs.size()),
      outputs(rooms.size()), own(rooms.size()), results(rooms.size()) {}

Outcome<std::unique_ptr<Request>> Request::create(Model &model) {
  if (!model.isGraph())
    return fault(QUERN_UNSUPPORTED, "the model is a language model; use sessions");
  return std::unique_ptr<Request>(new Request(model));
}

static std::string describe(std::span<const int64_t> shape) {
  std::string text = "[";
  for (int64_t size : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

Outcome<void> Request::setInput(size_t index, const void *data, std::span<const int64_t> shape) {
  const std::vector<Manifest::Tensor> &named = owner.manifest().inputs;
  if (index >= inputs.size())
    return fault(QUERN_INVALID_ARGUMENT, "there is no input " + std::to_string(index));
  const Manifest::Tensor &wanted = named[index];
  bool fits = shape.size() == wanted.shape.size();
  uint64_t bytes = elementBytes(wanted.type);
  for (size_t i = 0; fits && i < shape.size(); ++i)
    fits = shape[i] >= 0 && (wanted.shape[i].value < 0 || wanted.shape[i].value == shape[i]) &&
           !__builtin_mul_overflow(bytes, uint64_t(shape[i]), &bytes);
  if (!fits) {
    std::string declared = "[";
    for (const Manifest::Dimension &dimension : wanted.shape)
      declared += (declared.size() > 1 ? ", " : "") +
                  (dimension.value < 0 ? dimension.size : std::to_string(dimension.value));
    return fault(QUERN_INVALID_ARGUMENT, "input '" + wanted.name + "' has the shape " + describe(shape) +
                                             ", but the model wants " + declared + "]");
  }
  if (!data && bytes > 0)
    return fault(QUERN_INVALID_ARGUMENT, "the data of input '" + wanted.name + "' is a null pointer");
  inputs[index] = {data, {shape.begin(), shape.end()}, true};
  return {};
}

Outcome<void> Request::setOutput(size_t index, void *data, uint64_t bytes) {
  if (index >= rooms.size())
    return fault(QUERN_INVALID_ARGUMENT, "there is no output " + std::to_string(index));
  rooms[index] = {data, bytes};
  return {};
}

Outcome<std::vector<int64_t>> Request::sizes() const {
  const Manifest &manifest = owner.manifest();
  std::vector<int64_t> values(manifest.sizes.size(), -1);
  for (size_t i = 0; i < inputs.size(); ++i)
    for (size_t d = 0; d < inputs[i].shape.size(); ++d) {
      const Manifest::Dimension &dimension = manifest.inputs[i].shape[d];
      if (dimension.value >= 0)
        continue;
      size_t at = 0;
      while (manifest.sizes[at] != dimension.size)
        ++at;
      if (values[at] >= 0 && values[at] != inputs[i].shape[d])
        return fault(QUERN_INVALID_ARGUMENT, "the size '" + dimension.size + "' is " + std::to_string(values[at]) +
                                                 " in one input and " + std::to_string(inputs[i].shape[d]) +
                                                 " in input '" + manifest.inputs[i].name + "'");
      values[at] = inputs[i].shape[d];
    }
  return values;
}

Outcome<void> Request::run() {
  const Manifest &manifest = owner.manifest();
  std::vector<void *> buffers;
  hasRun = false;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].set)
      return fault(QUERN_INVALID_ARGUMENT, "input '" + manifest.inputs[i].name + "' was not given");
    buffers.push_back(const_cast<void *>(inputs[i].data)); // the code only reads it
  }
  auto values = sizes();
  if (!values)
    return tl::unexpected(std::move(values).error());
  for (size_t i = 0; i < outputs.size(); ++i) {
    outputs[i].shape.assign(manifest.outputs[i].shape.size(), 0);
    results[i] = {nullptr, outputs[i].shape.data()};
  }
  return owner.compute(buffers, *values, results, [this] { return takeOutputs(); });
}

/// Copies results out of the call's memory, while that lives.
Outcome<void> Request::takeOutputs() {
  const Manifest &manifest = owner.manifest();
  Outcome<void> outcome;
  for (size_t i = 0; i < outputs.size(); ++i) {
    Output &output = outputs[i];
    output.bytes = elementBytes(manifest.outputs[i].type);
    for (int64_t size : output.shape)
      output.bytes *= uint64_t(size);
    output.data = rooms[i].data;
    if (!rooms[i].data) {
      own[i].resize(output.bytes);
      output.data = own[i].data();
    } else if (rooms[i].bytes < output.bytes) {
      output.data = nullptr;
      outcome = fault(QUERN_BUFFER_TOO_SMALL, "output '" + manifest.outputs[i].name + "' of the shape " +
                                                  describe(output.shape) + " needs " + std::to_string(output.bytes) +
                                                  " bytes, its buffer has " + std::to_string(rooms[i].bytes));
    }
    if (output.data && output.bytes > 0)
      std::memcpy(const_cast<void *>(output.data), results[i].data, output.bytes);
  }
  hasRun = true;
  return outcome;
}

Outcome<const Request::Output *> Request::output(size_t index) const {
  if (index >= outputs.size())
    return fault(QUERN_INVALID_ARGUMENT, "there is no output " + std::to_string(index));
  if (!hasRun)
    return fault(QUERN_INVALID_ARGUMENT, "there are no outputs: the request has not run, or its last run failed");
  return &outputs[index];
}

} // namespace quern::runtime
