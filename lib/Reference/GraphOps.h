// The ops of the graph on rows in double precision, each as its definition in LMOps.td and DQOps.td reads.
#ifndef QUERN_LIB_REFERENCE_GRAPHOPS_H
#define QUERN_LIB_REFERENCE_GRAPHOPS_H

#include "WeightCache.h"

namespace quern::reference {

/// x times the transpose of weights [n, x.width]: [T, n].
Rows multiply(const Rows &x, std::span<const float> weights, int64_t n, unsigned threads);
/// The same on quantized rows and weights: dot products exact, the fold over pieces in double.
Rows multiply(const Act8Rows &x, const SplitWeight &weights, int64_t n, unsigned threads);

void addBias(Rows &rows, std::span<const float> bias);
void addRows(Rows &rows, const Rows &other);
Rows rmsNorm(const Rows &x, std::span<const float> gain, double eps);
Rows swiglu(const Rows &gate, const Rows &up);

/// Cosines, then sines, of each position's angles: [T, headDim]. `factors` may be empty.
Rows rotaryAngles(const Ids &positions, int64_t headDim, double theta, std::span<const float> factors);
Rows rotary(const Rows &x, const Rows &angles, bool interleaved);

struct AttentionShape {
  int64_t kvHeads, headDim;
  double scale;
  bool halfCache; ///< keys and values are rounded to f16 as they enter the cache
};

/// Appends keys and values to the cache, then attends. Fails if a position does not follow what the cache holds.
Result<Rows> attention(const Rows &query, const Rows &key, const Rows &value, const Ids &positions,
                       const AttentionShape &shape, KeyValueCache::Layer &cache);

} // namespace quern::reference

#endif // QUERN_LIB_REFERENCE_GRAPHOPS_H
