// Any bytes must either be refused or give a file whose metadata and tensors can be read to the last byte, and whose
// description as a model is either refused or whole.
#include "quern/Import/CheckNumbers.h"
#include "quern/Import/ModelConfig.h"

using namespace quern;
using namespace quern::gguf;

static formats::FormatSpec fuzzFormat() {
  formats::FormatSpec spec;
  spec.name = "q8_0";
  spec.ggufType = 8;
  spec.block = spec.group = 32;
  spec.bytes = 34;
  spec.scale = {formats::ScaleKind::F16, 0, 0, {}};
  return spec;
}

static volatile uint64_t sink;

static void readAll(const File &file) {
  for (const Tensor &tensor : file.tensors())
    sink = sink + static_cast<uint8_t>(tensor.data.front()) + static_cast<uint8_t>(tensor.data.back());
  for (const File::Entry &entry : file.metadata()) {
    for (uint64_t i = 0; entry.value.type != ValueType::String && i < entry.value.count; ++i)
      sink = sink + entry.value.integer<uint8_t>(i).value_or(0);
    for (std::string_view text : entry.value.strings)
      sink = sink + (text.empty() ? 0 : static_cast<uint8_t>(text.back()));
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const formats::FormatSpec format = fuzzFormat();
  static const TypeTable types(std::span(&format, 1));
  auto file = File::fromBytes(std::as_bytes(std::span(data, size)), "fuzz.gguf", types);
  if (!file)
    return 0;
  readAll(*file);
  (void)import::checkNumbers(*file, [](uint32_t id) { return id == 8 ? &format : nullptr; });
  if (auto config = import::readModelConfig(*file))
    (void)import::readTokenizer(*file, *config);
  return 0;
}
