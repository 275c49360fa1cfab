// The second level of the formats with super-blocks: one number for the block, and a small integer for each group.
#ifndef QUERN_LIB_QUANTIZE_SUPERSCALES_H
#define QUERN_LIB_QUANTIZE_SUPERSCALES_H

#include <cstdint>
#include <span>

namespace quern::quantize {

/// Factors 0 to `reach` for numbers that are not negative; the greatest gets `reach`. Returns the super-scale.
float fitLinear(std::span<const float> numbers, int reach, uint8_t *factors);

/// The same by least weighted square error: the best of nine steps, then each factor in turn moves to where the others
/// want it.
float fitWeighted(std::span<const float> numbers, const float *weights, int reach, uint8_t *factors);

/// Signed factors -reach to `highest`; the number of greatest magnitude gets -reach. Returns that number.
float fitSigned(std::span<const float> numbers, int reach, int highest, int *factors);

} // namespace quern::quantize

#endif // QUERN_LIB_QUANTIZE_SUPERSCALES_H
