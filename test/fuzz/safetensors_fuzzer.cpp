// Any bytes must either be refused or give tensors that can be read to the last byte, one after the other to the end.
// Half of the inputs are a header alone, whose length and data are made to fit, so that the fuzzer need not guess them.
#include "quern/Import/SafeTensors.h"

#include <cstdlib>
#include <cstring>

using namespace quern;

static volatile uint64_t sink;

static void readAll(std::span<const std::byte> bytes) {
  auto tensors = safetensors::parse(bytes, "fuzz.safetensors");
  if (!tensors)
    return;
  uint64_t total = 0;
  for (const safetensors::Tensor &tensor : *tensors) {
    for (std::byte byte : tensor.data)
      sink = sink + static_cast<uint8_t>(byte);
    total += tensor.data.size();
    if (tensor.data.size() * 8 != tensor.elements * tensor.bits)
      std::abort();
  }
  if (total > bytes.size() - 8)
    std::abort();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  readAll(std::as_bytes(std::span(data, size)));
  if (size == 0)
    return 0;
  uint64_t length = size - 1;
  std::vector<std::byte> made(8 + length + data[0]);
  std::memcpy(made.data(), &length, sizeof length);
  std::memcpy(made.data() + 8, data + 1, length);
  readAll(made);
  return 0;
}
