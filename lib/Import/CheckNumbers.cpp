#include "quern/Import/CheckNumbers.h"
#include "quern/Support/Threads.h"

#include <atomic>
#include <cstring>

using namespace quern;
using namespace quern::import;
using formats::FormatSpec;
using formats::ScaleKind;

static constexpr uint64_t kPieceBytes = uint64_t(1) << 18; ///< that are read at once

/// Whether one of `count` numbers, `step` bytes apart, has all bits of its exponent set. No early way out, so that the
/// compiler can make a vector loop of it.
template <typename Bits> static bool anyNonFinite(const std::byte *at, uint64_t count, uint64_t step, Bits exponent) {
  Bits found = 0;
  for (uint64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, at + i * step, sizeof bits);
    found |= (bits & exponent) == exponent;
  }
  return found != 0;
}

static bool anyNonFinite(const std::byte *at, uint64_t count, uint64_t step, ScaleKind kind) {
  switch (kind) {
  case ScaleKind::F16:
    return anyNonFinite<uint16_t>(at, count, step, 0x7c00);
  case ScaleKind::BF16:
    return anyNonFinite<uint16_t>(at, count, step, 0x7f80);
  case ScaleKind::F32:
    return anyNonFinite<uint32_t>(at, count, step, 0x7f800000);
  case ScaleKind::E8M0:
    return anyNonFinite<uint8_t>(at, count, step, 0xff);
  }
  return false;
}

static std::optional<ScaleKind> floatKind(const gguf::Tensor &tensor) {
  if (tensor.type->name == "F32")
    return ScaleKind::F32;
  if (tensor.type->name == "F16")
    return ScaleKind::F16;
  if (tensor.type->name == "BF16")
    return ScaleKind::BF16;
  return std::nullopt;
}

/// Whether a scale or minimum of one of `blocks` blocks is infinite or no number.
static bool badScales(const std::byte *row, uint64_t blocks, const FormatSpec &spec, const formats::Scale &scale) {
  unsigned perBlock = scale.sub || scale.stride == 0 ? 1 : spec.groups();
  bool bad = false;
  for (unsigned j = 0; j < perBlock; ++j)
    bad |= anyNonFinite(row + scale.byte + j * scale.stride, blocks, spec.bytes, scale.kind);
  return bad;
}

bool import::finiteScales(const std::byte *at, uint64_t blocks, const FormatSpec &spec) {
  return !badScales(at, blocks, spec, spec.scale) &&
         !(spec.minimum && badScales(at, blocks, spec, *spec.minimum));
}

/// The first row that holds a bad number; nothing if all are good, or the type is none of numbers (integers).
static std::optional<uint64_t> badRow(const gguf::File &file, const gguf::Tensor &tensor, const FormatSpec *spec) {
  std::optional<ScaleKind> kind = floatKind(tensor);
  if (!kind && !spec)
    return std::nullopt;
  uint64_t blocks = tensor.dims[0] / tensor.type->block, rowBytes = tensor.rowBytes();
  uint64_t step = std::max<uint64_t>(1, kPieceBytes / rowBytes);
  std::vector<std::byte> room;
  for (uint64_t first = 0; first < tensor.rows(); first += step) {
    uint64_t count = std::min(step, tensor.rows() - first);
    const std::byte *at = file.rows(tensor, first, count, room).data();
    for (uint64_t row = first; row < first + count; ++row, at += rowBytes) {
      bool bad = kind ? anyNonFinite(at, blocks, tensor.type->bytes, *kind) : !finiteScales(at, blocks, *spec);
      if (bad)
        return row;
    }
  }
  return std::nullopt;
}

Status import::checkNumbers(const gguf::File &file, const SpecLookup &lookup, unsigned threads) {
  std::span<const gguf::Tensor> tensors = file.tensors();
  std::vector<const FormatSpec *> specs;
  for (const gguf::Tensor &tensor : tensors)
    specs.push_back(lookup(tensor.typeId));
  std::vector<std::optional<uint64_t>> bad(tensors.size());
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i; (i = next++) < tensors.size();)
      bad[i] = badRow(file, tensors[i], specs[i]);
  };
  runOnThreads(threads, [&](unsigned) { work(); });
  for (size_t i = 0; i < tensors.size(); ++i)
    if (bad[i])
      return fail(file.parts()[tensors[i].part].path + ": tensor " + file.described(tensors[i].name) + ": row " +
                  std::to_string(*bad[i]) + " has a " + (floatKind(tensors[i]) ? "value" : "scale") +
                  " that is infinite or no number; the file is damaged");
  return {};
}
