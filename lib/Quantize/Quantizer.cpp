// A row goes through in tiles of sixteen groups: the search in each group, the super-scales of its blocks, the codes
// again under the scales really stored, the blocks' bytes.
#include "quern/Quantize/Quantizer.h"

#include "BlockWriter.h"
#include "Method.h"
#include "SuperScales.h"

#include <algorithm>
#include <cmath>

using namespace quern;
using namespace quern::quantize;

static constexpr int kTableTries = 7;
static constexpr float kSmallestScale = 1e-15f; // below, a block of symmetric groups is taken for zeros

namespace {
struct Plan {
  const Method &method;
  BlockWriter writer;
  const Searches &search;
};

/// The tile of one row that is being worked on.
struct Worker {
  explicit Worker(const Plan &plan) : method(plan.method), writer(plan.writer), search(plan.search) {}

  const Method &method;
  const BlockWriter &writer;
  const Searches &search;
  const float *importance = nullptr; ///< of the tile's first weight; null without
  float rowVariance = 0;
  GroupTile tile{};
  BlockParts parts[kLanes];
  float superScale[kLanes], superMinimum[kLanes]; ///< of each block

  const formats::FormatSpec &format() const { return writer.format(); }
  void searchGroups(const float *row, int lanes);
  void setVariances(const float *row, int lanes);
  void fitSuperScales(int block);
  void fitLinearScales(int block, std::span<const float> scales, const float *weights);
  void fitSignedScales(int block, std::span<const float> scales, const float *weights);
  void recode();
  void run(const float *row, int lanes, uint8_t *out);
};
} // namespace

struct Quantizer::State : Plan {};

static float sumOfSquares(const float *row, int64_t count) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += row[i] * row[i];
  return sum;
}

void Worker::setVariances(const float *row, int lanes) {
  int block = int(format().block), groups = int(format().groups());
  for (int lane = 0; lane < lanes; lane += groups) {
    float variance = method.varianceOfRow
                         ? rowVariance
                         : method.varianceFactor * sumOfSquares(row + lane / groups * block, block) / float(block);
    std::fill_n(tile.variance + lane, groups, variance);
  }
}

void Worker::searchGroups(const float *row, int lanes) {
  const GroupMethod &group = importance ? method.weighted : method.plain;
  if (group.weighting == Weighting::Scaled)
    setVariances(row, lanes);
  search.load(tile, row, importance, lanes, group.weighting);
  switch (group.search) {
  case Search::Symmetric:
    return search.symmetric(tile, method.reach);
  case Search::Descent:
    return search.symmetricByDescent(tile, method.reach);
  case Search::Minimum:
    return search.withMinimum(tile, method.reach, group.candidates);
  case Search::Table:
    return search.table(tile, format().table.data(), kTableTries);
  case Search::ExtremeFirst:
    return search.extremeFirst(tile, method.reach);
  case Search::FullRange:
    return search.fullRange(tile, method.reach);
  case Search::RoundToByte:
    return search.roundToByte(tile);
  case Search::PowerOfTwo:
  case Search::PowerOfTwoToEven: {
    float largest = format().unit * float(*std::max_element(format().table.begin(), format().table.end()));
    return search.powerOfTwo(tile, format().table.data(), int(format().table.size()), format().unit,
                             std::ilogb(largest), group.search == Search::PowerOfTwoToEven);
  }
  }
}

void Worker::fitLinearScales(int block, std::span<const float> scales, const float *weights) {
  int first = block * int(scales.size());
  std::span<const float> minimums(tile.minimum + first, scales.size());
  BlockParts &part = parts[block];
  auto fit = [&](std::span<const float> numbers, uint8_t *factors) {
    return weights ? fitWeighted(numbers, weights, method.superReach, factors)
                   : fitLinear(numbers, method.superReach, factors);
  };
  superScale[block] = fit(scales, part.scaleFactor);
  superMinimum[block] = fit(minimums, part.minimumFactor);
  float scale = asStored(format().scale.kind, superScale[block]);
  float minimum = asStored(format().minimum->kind, superMinimum[block]);
  for (size_t g = 0; g < scales.size(); ++g) {
    tile.scale[first + g] = scale * float(part.scaleFactor[g]);
    tile.minimum[first + g] = minimum * float(part.minimumFactor[g]);
  }
}

void Worker::fitSignedScales(int block, std::span<const float> scales, const float *weights) {
  int first = block * int(scales.size()), reach = method.superReach, factors[kLanes];
  float extreme = fitSigned(scales, reach, reach - 1, factors);
  if (method.super == SuperMethod::Table)
    superScale[block] = extreme / float(-reach);
  else
    superScale[block] = extreme != 0 ? 1 / (float(-reach) / extreme) : 0.0f;
  if (weights && method.weighted.weighting == Weighting::Scaled && method.super == SuperMethod::Signed) {
    GroupTile fit{}; // the scales themselves are searched as a group would be
    fit.group = int(scales.size());
    for (size_t g = 0; g < scales.size(); ++g)
      fit.x[g][0] = scales[g], fit.weight[g][0] = weights[g];
    search.symmetric(fit, reach);
    superScale[block] = fit.scale[0];
    for (size_t g = 0; g < scales.size(); ++g)
      factors[g] = int(fit.code[g][0]) - reach;
  }
  int offset = format().scale.sub->offset;
  if (extreme == 0 && method.super == SuperMethod::Signed)
    std::fill_n(factors, scales.size(), -offset); // no bit is set in blocks of zeros
  if (offset == 0 && std::fabs(extreme) < kSmallestScale) { // so in Q6_K's nearly zero ones
    superScale[block] = 0;
    for (int k = 0; k < tile.group; ++k)
      std::fill_n(tile.code[k] + first, scales.size(), uint8_t(0));
    std::fill_n(factors, scales.size(), 0);
  }
  bool exact = method.super == SuperMethod::Table;
  float scale = exact ? superScale[block] : asStored(format().scale.kind, superScale[block]);
  for (size_t g = 0; g < scales.size(); ++g) {
    tile.scale[first + g] = scale * float(factors[g]);
    parts[block].scaleFactor[g] = uint8_t(factors[g] + offset);
  }
}

void Worker::fitSuperScales(int block) {
  int groups = int(format().groups()), first = block * groups;
  float scales[kLanes], weights[kLanes] = {};
  std::copy_n(tile.scale + first, groups, scales);
  if (importance)
    for (int k = 0; k < tile.group; ++k)
      for (int g = 0; g < groups; ++g)
        weights[g] += tile.weight[k][first + g];
  std::span<const float> numbers(scales, size_t(groups));
  if (method.super == SuperMethod::Linear)
    fitLinearScales(block, numbers, importance ? weights : nullptr);
  else
    fitSignedScales(block, numbers, importance ? weights : nullptr);
}

/// Codes again, under the scales that readers will see.
void Worker::recode() {
  switch (method.super) {
  case SuperMethod::Linear:
    return search.recodeWithMinimum(tile, method.reach);
  case SuperMethod::Signed:
    return search.recodeSymmetric(tile, method.reach);
  case SuperMethod::Table:
    return search.recodeTable(tile, format().table.data());
  case SuperMethod::None:
    if (method.plain.search == Search::Table)
      search.recodeTable(tile, format().table.data());
  }
}

void Worker::run(const float *row, int lanes, uint8_t *out) {
  int groups = int(format().groups()), blocks = lanes / groups;
  bool super = method.super != SuperMethod::None;
  searchGroups(row, lanes);
  for (int block = 0; super && block < blocks; ++block)
    fitSuperScales(block);
  recode();
  uint8_t codes[kLanes * kMaxGroup];
  search.store(tile, lanes, codes);
  for (int block = 0; block < blocks; ++block) {
    BlockParts &part = parts[block];
    part.codes = codes + block * int(format().block);
    part.scale = super ? superScale + block : tile.scale + block * groups;
    part.minimum = super ? superMinimum + block : tile.minimum + block * groups;
    writer.write(part, out + block * int(format().bytes));
  }
}

Result<Quantizer> Quantizer::create(const formats::FormatSpec &spec) {
  const Method *method = findMethod(spec.name);
  if (!method)
    return fail("there is no quantizer for the block format '" + spec.name + "'");
  return Quantizer(std::make_unique<State>(State{{*method, BlockWriter(spec), searches()}}));
}

Quantizer::Quantizer(std::unique_ptr<State> state) : state(std::move(state)) {}
Quantizer::Quantizer(Quantizer &&) noexcept = default;
Quantizer &Quantizer::operator=(Quantizer &&) noexcept = default;
Quantizer::~Quantizer() = default;

const formats::FormatSpec &Quantizer::format() const { return state->writer.format(); }

void Quantizer::quantizeRow(const float *row, int64_t count, const float *importance, uint8_t *out) const {
  const formats::FormatSpec &spec = format();
  Worker worker(*state);
  worker.tile.group = int(spec.group);
  if (importance && state->method.varianceOfRow)
    worker.rowVariance = sumOfSquares(row, count) / float(count);
  int64_t groups = count / spec.group;
  for (int64_t g = 0; g < groups; g += kLanes) {
    int lanes = int(std::min<int64_t>(kLanes, groups - g));
    worker.importance = importance ? importance + g * spec.group : nullptr;
    worker.run(row + g * spec.group, lanes, out + g / spec.groups() * spec.bytes);
  }
}
