// The second oracle: one element of a matmul, with every rounding of compiled code, so that kernels can be compared bit
// for bit. The order of operations is that of docs/numerics.md, "The fold".
#ifndef QUERN_REFERENCE_EXACTFOLD_H
#define QUERN_REFERENCE_EXACTFOLD_H

#include "quern/Formats/FormatSpec.h"
#include "quern/Reference/Rows.h"

namespace quern::reference {

/// Whether the target has a fused multiply-add; where it has none, a product is rounded before it is added.
enum class MultiplyAdd { Fused, Separate };

/// One stored row of block weights times one row of quantized activations. For each piece of min(group, 32) weights in
/// ascending order: acc = ma(sx * s, float(dot), acc), and if the format has minimums acc = ma(-/+m, sx * float(sum),
/// acc). `blocks` holds exactly x.codes.size() weights. Thread-safe.
float foldExact(const formats::FormatSpec &spec, std::span<const uint8_t> blocks, const Act8Row &x, MultiplyAdd kind);

/// One row of bf16 weights times bf16 activations, both widened to f32: two partial sums, of the even and of the odd
/// pairs of k, ascending; of a pair the odd product is added first. Then p0 + p1. What is below 2^-126 counts as zero,
/// as vdpbf16ps has it. Products are exact, so that there is nothing to choose between. Both spans have the same even
/// length.
float foldExactPairs(std::span<const float> weights, std::span<const float> x);

/// One row of f32 or f16 weights, widened to f32, times f32 activations: four partial sums by k mod 4, each in
/// ascending order, then (p0 + p1) + (p2 + p3). Both spans have the same length.
float foldExact(std::span<const float> weights, std::span<const float> x, MultiplyAdd kind);

} // namespace quern::reference

#endif // QUERN_REFERENCE_EXACTFOLD_H
