// What a block format is, as plain data: every GGUF block format (and GPTQ, AWQ, MatMulNBits, MX floats) says
//
//   w[k] = s[g] * unit * t(c[k])  -  m[g]          g = k / group
//
// with c a small integer code, t the identity less a zero point or a table of integers, s and m one number per group,
// stored plainly or as a product of a super-block number and a small integer. The description is written once as a
// `#dq.format` attribute (dialects/DQ/formats/*.mlir); this struct is its evaluated form, free of MLIR, from which the
// decoder, the encoder, the packer and the kernels follow.
#ifndef QUERN_FORMATS_FORMATSPEC_H
#define QUERN_FORMATS_FORMATSPEC_H

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace quern::formats {

/// Where `bits` consecutive bits of a small integer lie, for each index: bit `shift[i]` of byte `byte[i]` of the block.
/// The first plane of an integer holds its lowest bits.
struct Plane {
  unsigned bits;
  std::vector<uint16_t> byte;
  std::vector<uint8_t> shift;
};

/// Small integers packed into planes, one per index: value = (isSigned ? sign-extended : plain) bits - offset.
struct PackedInts {
  std::vector<Plane> planes;
  bool isSigned = false;
  int offset = 0;
  unsigned bits() const {
    unsigned sum = 0;
    for (const Plane &plane : planes)
      sum += plane.bits;
    return sum;
  }
};

enum class ScaleKind { F16, BF16, F32, E8M0 };

/// One number per group. Without `sub`: the kind's value stored at byte `byte + stride * g`. With `sub`: the
/// super-block number at `byte`, times sub[g].
struct Scale {
  ScaleKind kind;
  unsigned byte;
  unsigned stride = 0;
  std::optional<PackedInts> sub;
};

struct FormatSpec {
  std::string name;  ///< as printed, e.g. "q4_K"
  int ggufType = -1; ///< GGUF tensor type id, -1 if GGUF has none
  unsigned block;    ///< weights per block
  unsigned bytes;    ///< bytes per block
  unsigned group;    ///< weights per scale; divides block
  PackedInts codes;  ///< one per weight; `offset` is the zero point
  std::vector<int16_t> table; ///< t(c), one entry per code; empty: t(c) = c - offset
  float unit = 1.0f; ///< exact factor of every scale (a power of two), e.g. 0.5 for E2M1 codes kept doubled
  Scale scale;
  std::optional<Scale> minimum;
  bool minimumAdded = false; ///< true: w = s*t(c) + m (Q4_1, Q5_1), false: w = s*t(c) - m

  unsigned groups() const { return block / group; }
  double bitsPerWeight() const { return 8.0 * bytes / block; }
};

} // namespace quern::formats

#endif // QUERN_FORMATS_FORMATSPEC_H
