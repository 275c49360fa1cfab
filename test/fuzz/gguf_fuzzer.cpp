// Any bytes must either be refused or give a file whose metadata and tensors can be read to the last byte.
#include "quern/Import/GGUF.h"

using namespace quern::gguf;

static TypeTable fuzzTypes() {
  TypeTable types;
  types.add(8, {"q8_0", 32, 34});
  types.add(12, {"q4_K", 256, 144});
  return types;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const TypeTable types = fuzzTypes();
  auto file = File::fromBytes(std::as_bytes(std::span(data, size)), "fuzz.gguf", types);
  if (!file)
    return 0;
  volatile uint64_t sink = 0;
  for (const Tensor &tensor : file->tensors())
    sink = sink + static_cast<uint8_t>(tensor.data.front()) + static_cast<uint8_t>(tensor.data.back());
  for (const File::Entry &entry : file->metadata()) {
    for (uint64_t i = 0; entry.value.type != ValueType::String && i < entry.value.count; ++i)
      sink = sink + entry.value.integer<uint8_t>(i).value_or(0);
    for (std::string_view text : entry.value.strings)
      sink = sink + (text.empty() ? 0 : static_cast<uint8_t>(text.back()));
  }
  return 0;
}
