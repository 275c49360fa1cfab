// Compiled with -ffp-contract=off: the order of roundings is part of each format's definition.
#include "quern/Formats/Decoder.h"

#include "quern/Support/Half.h"

#include <cstring>

using namespace quern::formats;

static uint16_t readU16(const uint8_t *from) { return uint16_t(from[0] | from[1] << 8); }

static float readNumber(ScaleKind kind, const uint8_t *from) {
  switch (kind) {
  case ScaleKind::F16:
    return quern::halfToFloat(readU16(from));
  case ScaleKind::BF16:
    return quern::bfloatToFloat(readU16(from));
  case ScaleKind::E8M0:
    return quern::e8m0ToFloat(*from);
  case ScaleKind::F32:
    return std::bit_cast<float>(uint32_t(readU16(from)) | uint32_t(readU16(from + 2)) << 16);
  }
  return 0;
}

Decoder::ScaleReader::ScaleReader(const Scale &scale) {
  if (scale.sub)
    factors = IntReader(*scale.sub);
}

void Decoder::ScaleReader::read(const Scale &scale, const uint8_t *block, float unit, std::vector<float> &numbers,
                                std::vector<int> &factorsOut) const {
  if (!scale.sub) {
    for (size_t j = 0; j < numbers.size(); ++j)
      numbers[j] = readNumber(scale.kind, block + scale.byte + j * scale.stride) * unit;
    return;
  }
  std::vector<uint8_t> raw(factors.count());
  factors.read(block, raw.data());
  float number = readNumber(scale.kind, block + scale.byte) * unit;
  for (size_t j = 0; j < numbers.size(); ++j) {
    numbers[j] = number;
    factorsOut[j] = factors.value(raw[j]);
  }
}

Decoder::Decoder(const FormatSpec &format) : spec(format), codes(spec.codes), scales(spec.scale) {
  if (spec.minimum)
    minimums = ScaleReader(*spec.minimum);
  values = spec.table;
  if (values.empty())
    for (unsigned raw = 0; raw < 1u << spec.codes.bits(); ++raw)
      values.push_back(int16_t(codes.value(uint8_t(raw))));
}

void Decoder::decodeBlock(const uint8_t *block, DecodedBlock &out) const {
  size_t groups = spec.groups();
  out.value.resize(spec.block);
  out.scale.resize(groups);
  out.scaleFactor.assign(groups, 1);
  out.minimum.assign(groups, 0.0f);
  out.minimumFactor.assign(groups, 1);
  out.code.resize(spec.block);
  codes.read(block, out.code.data());
  for (size_t i = 0; i < spec.block; ++i)
    out.value[i] = values[out.code[i]];
  scales.read(spec.scale, block, spec.unit, out.scale, out.scaleFactor);
  if (spec.minimum)
    minimums.read(*spec.minimum, block, 1.0f, out.minimum, out.minimumFactor);
}

void Decoder::decodeRow(const uint8_t *blocks, int64_t count, float *out) const {
  DecodedBlock block;
  for (int64_t done = 0; done < count; done += spec.block, blocks += spec.bytes) {
    decodeBlock(blocks, block);
    for (unsigned g = 0, k = 0; g < spec.groups(); ++g) {
      float scale = block.scale[g] * float(block.scaleFactor[g]);
      float minimum = block.minimum[g] * float(block.minimumFactor[g]);
      if (!spec.minimumAdded)
        minimum = -minimum;
      for (unsigned end = k + spec.group; k < end; ++k) {
        float product = scale * float(block.value[k]);
        *out++ = spec.minimum ? product + minimum : product;
      }
    }
  }
}
