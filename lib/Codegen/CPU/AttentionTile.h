// Attention of a few query heads over one tile of keys, and the state that tiles are merged into.
#ifndef QUERN_LIB_CODEGEN_CPU_ATTENTIONTILE_H
#define QUERN_LIB_CODEGEN_CPU_ATTENTIONTILE_H

#include "Kernels.h"

#include <memory>

namespace quern::codegen {

/// Emits attention of `count` query heads that share a key-value head; count is at most 16. What a kind of cache does
/// in its own way are the scores of 16 keys and the sum of the values.
///
/// A state is what is known of the keys so far: for each head the weighted values [D], then one vector of the heads'
/// maxima and one of their sums of weights, a lane a head.
class HeadGroup {
protected:
  using Value = mlir::Value;
  using Values = Emitter::Values;

public:
  /// `work` is tileWorkBytes of the thread's own memory.
  static std::unique_ptr<HeadGroup> make(Emitter &e, const AttentionShape &shape, const Target &target, Value work,
                                         int64_t count);
  virtual ~HeadGroup() = default;

  static int64_t tileWorkBytes(const AttentionShape &shape, int64_t count);
  static int64_t stateBytes(const AttentionShape &shape, int64_t count) { return (count * shape.headDim + 2 * 16) * 4; }
  /// Bytes of the heads' prepared queries; 0 where tiles take them as they are.
  static int64_t queryBytes(const AttentionShape &shape, int64_t count);

  /// Prepares the heads' queries for `tile`.
  virtual void prepare(Value queries, Value prepared) {}
  /// A state of no keys.
  void begin(Value state);
  /// Merges the keys [first, end), of one tile from its start, into the state. `keys` and `values` are the head's.
  void tile(Value state, Value queries, Value keys, Value values, Value first, Value end);
  /// Merges the later state `from` into `state`.
  void merge(Value state, Value from);
  /// The heads' results, one after the other.
  void finish(Value state, Value out);

protected:
  HeadGroup(Emitter &e, const AttentionShape &shape, Value work, int64_t count)
      : e(e), shape(shape), layout(shape.layout()), work(work), count(count) {}

  /// Blocks of 16 keys that are scored together.
  virtual int64_t blocksTogether() const { return 1; }
  /// Scores of the blocks of a tile's keys that begin at `at`: [block * count + head].
  virtual Values scoreBlocks(Value queries, Value tile, Value at) = 0;
  /// Merges the values of a tile's first keys, times the heads' weights, into the sums.
  virtual void weighValues(Value state, Value tile, Value tileKeys) = 0;

  int64_t sumsAt(int64_t head) const { return head * shape.headDim * 4; }
  Value weights(int64_t head) { return e.at(work, head * kKeyTile * 4); }
  /// Work memory of a kind of cache, behind the weights and three vectors.
  Value ownWork() { return e.at(work, count * kKeyTile * 4 + 3 * 64); }
  /// sums = sums * kept + later * taken, for 16 elements of a head that begin at byte `offset`.
  void mergeSums(Value state, int64_t head, Value offset, Value later);
  /// Which of 16 keys lie before `left`.
  Value validLanes(Value left);

  Emitter &e;
  const AttentionShape &shape;
  CacheLayout layout;
  Value work;
  int64_t count;

private:
  Value maxima(Value state) { return e.at(state, sumsAt(count)); }
  Value totals(Value state) { return e.at(state, sumsAt(count) + 64); }
  /// A vector of 16 in the work memory, behind the weights.
  Value lanes(int64_t index) { return e.at(work, count * kKeyTile * 4 + index * 64); }
  Value splatLane(Value vectorAt, int64_t lane) {
    return e.splat(e.load(e.getF32Type(), e.at(vectorAt, lane * 4), 4), e.f32s());
  }
  Value scoreTile(Value queries, Value tile, Value tileKeys);
  void mergeTotals(Value state, Value laterMaxima, Value laterTotals);
};

/// Over a cache of f16 or f32: products of f32.
class FloatGroup : public HeadGroup {
public:
  FloatGroup(Emitter &e, const AttentionShape &shape, Value work, int64_t count, const Target &target)
      : HeadGroup(e, shape, work, count), registers((target.vectorBits == 512 ? 32 : 16) * target.vectorBits / 512) {}

protected:
  int64_t blocksTogether() const override;
  Values scoreBlocks(Value queries, Value tile, Value at) override;
  void weighValues(Value state, Value tile, Value tileKeys) override;

private:
  int64_t lineBytes() const { return kKeyBlock * layout.elementBytes(); } ///< of 16 numbers
  /// The `index`th 16 numbers of a tile from `address`, as f32.
  Value numbers(Value address, int64_t index);
  /// Hints that the next tile's numbers at the place of `count` times 16 of this one are needed soon.
  void prefetchNext(Value address, int64_t count);
  void weighElements(Value state, Value tile, Value tileKeys, Value d, int64_t vectors);

  int64_t registers; ///< in vectors of 16 numbers
};

/// Over a cache of q8_0: products of bytes. Queries, and weights times the scales of the values, become whole numbers
/// of two digits to the base 128 (docs/numerics.md).
class ByteGroup : public HeadGroup {
public:
  ByteGroup(Emitter &e, const AttentionShape &shape, Value work, int64_t count, bool signedCodes)
      : HeadGroup(e, shape, work, count), signedCodes(signedCodes) {}

  static int64_t workBytes(const CacheLayout &layout, int64_t count);
  /// A head's query: its digits, each [32 * groups], then scales and corrections of the groups.
  static int64_t headQueryBytes(const CacheLayout &layout);
  void prepare(Value queries, Value prepared) override;

protected:
  Values scoreBlocks(Value queries, Value tile, Value at) override;
  void weighValues(Value state, Value tile, Value tileKeys) override;

private:
  int64_t digitBytes() const { return layout.groups() * kCacheGroup; }
  Value queryScale(Value queries, int64_t head, Value group);
  Value queryCorrection(Value queries, int64_t head, Value group);
  Values scoreGroup(Value queries, Value tile, Value at, Value group, int64_t lines, mlir::ValueRange scores);
  /// A tile's scales of one group of values, each over the unit of the weights' codes.
  Value shares(int64_t group) { return e.at(ownWork(), group * kKeyTile * 4); }
  Value units() { return e.at(ownWork(), layout.groups() * kKeyTile * 4); }
  Value codes(int64_t group, int64_t head, int64_t digit);
  void shareScales(Value tile, Value tileKeys);
  void quantizeWeights(Value tileKeys);
  void sumGroup(Value state, Value tile, Value tileKeys, int64_t group);

  bool signedCodes; ///< keys are signed bytes; otherwise 128 is added to them
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_ATTENTIONTILE_H
