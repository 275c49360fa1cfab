#include "quern/Reference/ExactFold.h"

#include "BlockReader.h"

#include <algorithm>
#include <array>
#include <cmath>

using namespace quern::reference;

static float multiplyAdd(float a, float b, float c, MultiplyAdd kind) {
  if (kind == MultiplyAdd::Fused)
    return std::fmaf(a, b, c);
  float product = a * b;
  return product + c;
}

float quern::reference::foldExact(const formats::FormatSpec &spec, std::span<const uint8_t> blocks, const Act8Row &x,
                                  MultiplyAdd kind) {
  BlockReader reader(spec);
  unsigned piece = std::min<unsigned>(spec.group, kAct8Group);
  float acc = 0, firstHalf = 0;
  for (size_t first = 0; first < x.codes.size(); first += piece) {
    const uint8_t *block = blocks.data() + first / spec.block * spec.bytes;
    unsigned inBlock = first % spec.block, group = inBlock / spec.group;
    int32_t dot = 0, sum = 0;
    for (unsigned i = 0; i < piece; ++i) {
      dot += reader.code(block, inBlock + i) * x.codes[first + i];
      sum += x.codes[first + i];
    }
    float sx = x.scales[first / kAct8Group], scale = reader.scale(block, group);
    if (piece == kAct8Group || spec.minimum)
      acc = multiplyAdd(sx * scale, float(dot), acc, kind);
    else if (first % kAct8Group == 0)
      firstHalf = scale * float(dot);
    else
      acc = multiplyAdd(sx, multiplyAdd(scale, float(dot), firstHalf, kind), acc, kind);
    if (spec.minimum)
      acc = multiplyAdd(reader.addend(block, group), sx * float(sum), acc, kind);
  }
  return acc;
}

/// Without subnormals.
static float flushed(float value) { return std::fabs(value) < 0x1p-126f ? std::copysign(0.0f, value) : value; }

float quern::reference::foldExactPairs(std::span<const float> weights, std::span<const float> x) {
  std::array<float, 2> partial{};
  for (size_t k = 0; k < weights.size(); k += 2) {
    float &sum = partial[k / 2 % 2];
    for (size_t i : {k + 1, k})
      sum = flushed(std::fmaf(flushed(weights[i]), flushed(x[i]), sum));
  }
  return partial[0] + partial[1];
}

float quern::reference::foldExact(std::span<const float> weights, std::span<const float> x, MultiplyAdd kind) {
  std::array<float, 4> partial{};
  for (size_t k = 0; k < weights.size(); ++k)
    partial[k % 4] = multiplyAdd(weights[k], x[k], partial[k % 4], kind);
  return (partial[0] + partial[1]) + (partial[2] + partial[3]);
}
