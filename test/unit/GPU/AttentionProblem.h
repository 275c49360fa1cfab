// Rows of several sequences with caches of random keys and values, and their attention in double precision.
#ifndef QUERN_TEST_UNIT_GPU_ATTENTIONPROBLEM_H
#define QUERN_TEST_UNIT_GPU_ATTENTIONPROBLEM_H

#include "test/unit/GPU/EmitKernels.h"

#include "quern/Support/Half.h"

#include <cmath>

namespace quern {

struct AttentionProblem {
  int64_t heads, kvHeads, headDim;
  std::vector<int32_t> positions;
  std::vector<int64_t> sequences; ///< of each row
  static constexpr int64_t kLayers = 2, kLayer = 1;

  AttentionProblem(int64_t heads, int64_t kvHeads, int64_t headDim, std::vector<int32_t> positions,
                   std::vector<int64_t> sequences)
      : heads(heads), kvHeads(kvHeads), headDim(headDim), positions(positions), sequences(sequences),
        query(normalFloats(positions.size() * heads * headDim, 1, 2)) {
    for (size_t row = 0; row < positions.size(); ++row) {
      size_t s = size_t(sequences[row]);
      capacities.resize(std::max(capacities.size(), s + 1));
      capacities[s] = std::max<int64_t>(capacities[s], (positions[row] / 64 + 1) * 64);
    }
    for (int64_t capacity : capacities) {
      std::vector<uint16_t> cache;
      for (float number : normalFloats(kLayers * 2 * kvHeads * capacity * headDim, uint32_t(caches.size() + 7)))
        cache.push_back(floatToHalf(number));
      caches.push_back(cache);
    }
  }

  int64_t rows() const { return int64_t(positions.size()); }
  float scale() const { return 1 / std::sqrt(float(headDim)); }

  /// Uploads the caches; the addresses and capacities of rows.
  void upload(GpuProgram &program) {
    std::vector<uint64_t> addresses, ofRows;
    std::vector<int64_t> capacitiesOfRows;
    for (const auto &cache : caches)
      addresses.push_back(program.upload(cache));
    for (int64_t s : sequences) {
      ofRows.push_back(addresses[s]);
      capacitiesOfRows.push_back(capacities[s]);
    }
    onDevice = addresses;
    addressesOfRows = program.upload(ofRows);
    this->capacitiesOfRows = program.upload(capacitiesOfRows);
  }

  void readBack(GpuProgram &program) {
    for (size_t s = 0; s < caches.size(); ++s)
      caches[s] = program.download<uint16_t>(onDevice[s], caches[s].size());
  }

  /// In the cache of a row's sequence.
  int64_t placeOf(int64_t row, bool value, int64_t kvHead, int64_t position, int64_t d) const {
    int64_t head = (kLayer * 2 + value) * kvHeads + kvHead;
    return (head * capacities[sequences[row]] + position) * headDim + d;
  }

  float cached(int64_t row, bool value, int64_t kvHead, int64_t position, int64_t d) const {
    return halfToFloat(caches[sequences[row]][placeOf(row, value, kvHead, position, d)]);
  }

  /// Of queries [rows, heads, headDim] in double precision.
  std::vector<double> expected(const std::vector<double> &queries) const {
    std::vector<double> out(queries.size());
    for (int64_t row = 0; row < rows(); ++row)
      for (int64_t head = 0; head < heads; ++head) {
        int64_t at = (row * heads + head) * headDim, kvHead = head / (heads / kvHeads), keys = positions[row] + 1;
        std::vector<double> scores(keys);
        for (int64_t j = 0; j < keys; ++j)
          for (int64_t d = 0; d < headDim; ++d)
            scores[j] += scale() * queries[at + d] * cached(row, false, kvHead, j, d);
        double greatest = *std::ranges::max_element(scores), sum = 0;
        for (double &score : scores)
          sum += score = std::exp(score - greatest);
        for (int64_t j = 0; j < keys; ++j)
          for (int64_t d = 0; d < headDim; ++d)
            out[at + d] += scores[j] / sum * cached(row, true, kvHead, j, d);
      }
    return out;
  }

  std::vector<float> query;
  std::vector<int64_t> capacities;           ///< of sequences
  std::vector<std::vector<uint16_t>> caches; ///< of sequences
  std::vector<uint64_t> onDevice;
  uint64_t addressesOfRows = 0, capacitiesOfRows = 0;
};

} // namespace quern

#endif // QUERN_TEST_UNIT_GPU_ATTENTIONPROBLEM_H
