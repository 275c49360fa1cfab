// Compiled attention against the exact arithmetic, bit for bit: on both targets, for several shapes, on any number of
// threads, for rows together or one at a time, of one sequence or of several.
#include "CompiledModule.h"

#include "lib/Reference/Arithmetic.h"
#include "quern/Codegen/CacheLayout.h"

#include <cmath>
#include <gtest/gtest.h>
#include <map>
#include <numeric>
#include <random>

using namespace quern;
using codegen::CacheKind;
using reference::MultiplyAdd;

namespace {

struct Shape {
  int64_t heads, kvHeads, headDim, tokens;
  std::string name() const {
    return std::to_string(heads) + "x" + std::to_string(kvHeads) + "x" + std::to_string(headDim) + "_" +
           std::to_string(tokens);
  }
};

/// Groups of one, of several and of a prime number of heads; head sizes of whole and half lines; up to two spans of 512
/// keys. 16,449 keys have spans of 1,024.
constexpr Shape kShapes[] = {{6, 2, 32, 600}, {7, 1, 64, 530}, {3, 3, 16, 200},  {2, 1, 48, 130},
                             {10, 1, 16, 66}, {2, 1, 128, 70}, {1, 1, 16, 16449}};

/// One layer's cache of a sequence.
struct Sequence {
  Sequence(const Shape &shape, int64_t capacity)
      : capacity(capacity), bytes(size_t(shape.kvHeads * shape.headDim * capacity * 8 + 64)) {}

  uint8_t *data() {
    return reinterpret_cast<uint8_t *>((reinterpret_cast<uintptr_t>(bytes.data()) + 63) & ~uintptr_t(63));
  }

  int64_t capacity;
  std::vector<uint8_t> bytes;
};

class AttentionKernelTest : public testing::TestWithParam<std::tuple<Shape, CacheKind>> {
protected:
  void SetUp() override {
    width = shape.heads * shape.headDim, kvWidth = shape.kvHeads * shape.headDim;
    query = addTable("q", width, 1), key = addTable("k", kvWidth, 2), value = addTable("v", kvWidth, 3);
    std::vector<float> identity(size_t(width * width), 0.0f);
    for (int64_t i = 0; i < width; ++i)
      identity[size_t(i * width + i)] = 1.0f;
    module.source("one", type(width, width), identity);
    std::string rows = "tensor<?x" + std::to_string(width) + "xf32>",
                kv = "tensor<?x" + std::to_string(kvWidth) + "xf32>";
    std::string cache = "!lm.cache<layers = 1, kv_heads = " + std::to_string(shape.kvHeads) +
                        ", head_dim = " + std::to_string(shape.headDim) + ">";
    module.text += "func.func @f(%ids: tensor<?xi32> {lm.name = \"token_ids\", lm.size = \"tokens\"}, "
                   "%p: tensor<?xi32> {lm.name = \"positions\", lm.size = \"tokens\"}, %c: " + cache + ") -> (" + rows +
                   " {lm.name = \"out\"}) {\n" + embed("q", width) + embed("k", kvWidth) + embed("v", kvWidth) +
                   "  %a = lm.attention %q, %k, %v at %p in %c {layer = 0, scale = 0.25 : f32} : " + rows + ", " + kv +
                   ", tensor<?xi32>, " + cache + "\n  %one = dq.weight @one : " + type(width, width) +
                   "\n  %y = dq.matmul %a, [%one] : " + rows + ", [" + type(width, width) + "] -> " + rows +
                   "\n  return %y : " + rows + "\n}\n";
    compiled = &codeOf(module, shape.name());
    ASSERT_FALSE(compiled->empty());
  }

  using Code = std::vector<std::pair<const codegen::Target *, std::unique_ptr<CompiledModule>>>;
  /// Code for each target that runs here, made once for the tests of a shape.
  static const Code &codeOf(const ModuleText &module, const std::string &name) {
    static std::map<std::string, Code> made;
    auto [known, isNew] = made.try_emplace(name);
    mlir::MLIRContext context;
    for (const codegen::Target &target : codegen::cpuTargets())
      if (isNew && runsHere(target))
        if (auto code = CompiledModule::make(context, module, target))
          known->second.emplace_back(&target, std::move(code));
    return known->second;
  }

  static std::string type(int64_t n, int64_t k) {
    return "tensor<" + std::to_string(n) + "x" + std::to_string(k) + "xf32>";
  }
  std::vector<float> addTable(const std::string &name, int64_t columns, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0.0f, 1.0f);
    std::vector<float> values(size_t(shape.tokens * columns));
    for (float &x : values)
      x = normal(generator);
    module.source(name + "s", type(shape.tokens, columns), values);
    return values;
  }
  std::string embed(const std::string &name, int64_t columns) {
    std::string table = type(shape.tokens, columns);
    return "  %" + name + "s = dq.weight @" + name + "s : " + table + "\n  %" + name + " = lm.embedding %ids, %" +
           name + "s : tensor<?xi32>, " + table + " -> tensor<?x" + std::to_string(columns) + "xf32>\n";
  }

  /// One step: token `positions[i]` at that position of sequences[i].
  std::vector<float> step(const CompiledModule &code, std::vector<int32_t> positions,
                          const std::vector<Sequence *> &sequences, int64_t threads) {
    std::vector<void *> caches;
    std::vector<int64_t> capacities;
    for (Sequence *sequence : sequences)
      caches.push_back(sequence->data()), capacities.push_back(sequence->capacity);
    return code.call("f" + std::string(codegen::cacheKindSuffix(kind)), positions,
                     {positions.data(), caches.data(), capacities.data()}, width, threads);
  }
  /// Tokens [first, last) of one sequence.
  std::vector<float> step(const CompiledModule &code, int64_t first, int64_t last, Sequence &sequence,
                          int64_t threads) {
    std::vector<int32_t> positions(size_t(last - first));
    std::iota(positions.begin(), positions.end(), int32_t(first));
    return step(code, positions, std::vector<Sequence *>(positions.size(), &sequence), threads);
  }
  std::vector<float> all(const CompiledModule &code, Sequence &sequence) {
    return step(code, 0, shape.tokens, sequence, 2);
  }
  std::vector<float> row(const std::vector<float> &rows, int64_t t) const {
    return {rows.begin() + t * width, rows.begin() + (t + 1) * width};
  }
  std::vector<float> exactRow(int64_t t, MultiplyAdd multiplyAdd);
  int64_t capacity() const { return (shape.tokens + 63) / 64 * 64; }

  Shape shape = std::get<0>(GetParam());
  CacheKind kind = std::get<1>(GetParam());
  int64_t width, kvWidth;
  std::vector<float> query, key, value;
  ModuleText module;
  const Code *compiled = nullptr;
};

/// A step of all rows up to t, of which the last counts.
std::vector<float> AttentionKernelTest::exactRow(int64_t t, MultiplyAdd multiplyAdd) {
  auto rows = [&](const std::vector<float> &table, int64_t columns, int64_t first) {
    reference::Rows out(t + 1 - first, columns);
    std::copy(table.begin() + first * columns, table.begin() + (t + 1) * columns, out.values.begin());
    return out;
  };
  reference::Rows keys = rows(key, kvWidth, 0), values = rows(value, kvWidth, 0), last = rows(query, width, t);
  reference::KeyValueCache::Layer cache;
  reference::AttentionShape geometry{shape.kvHeads, shape.headDim, 0.25,
                                     kind == CacheKind::F16    ? reference::CachePrecision::F16
                                     : kind == CacheKind::Q8_0 ? reference::CachePrecision::Q8_0
                                                               : reference::CachePrecision::Unrounded};
  auto arithmetic = reference::makeExactArithmetic(multiplyAdd, 1);
  reference::append({keys, values, reference::quantizeForCache(keys, shape.headDim),
                     reference::quantizeForCache(values, shape.headDim)},
                    geometry, cache);
  std::vector<double> out(size_t(width), 0.0);
  for (int64_t head = 0; head < shape.heads; ++head) {
    size_t at = size_t(head * shape.headDim), size = size_t(shape.headDim);
    arithmetic->attend(last.row(0).subspan(at, size), cache, t + 1, head / (shape.heads / shape.kvHeads), geometry,
                       std::span(out).subspan(at, size));
  }
  return {out.begin(), out.end()};
}

} // namespace

TEST_P(AttentionKernelTest, IsTheExactArithmetic) {
  for (auto &[target, code] : *compiled) {
    Sequence sequence(shape, capacity());
    std::vector<float> rows = all(*code, sequence);
    MultiplyAdd multiplyAdd = target->fusedMultiplyAdd ? MultiplyAdd::Fused : MultiplyAdd::Separate;
    for (int64_t t : {int64_t(0), int64_t(1), int64_t(14), int64_t(63), int64_t(64), shape.tokens / 2, shape.tokens - 3,
                      shape.tokens - 1}) {
      if (t < shape.tokens)
        ASSERT_EQ(row(rows, t), exactRow(t, multiplyAdd)) << target->name << ", row " << t;
    }
  }
}

TEST_P(AttentionKernelTest, DependsOnNeitherThreadsNorChunks) {
  if (shape.tokens > 1000)
    GTEST_SKIP() << "quadratic";
  for (auto &[target, code] : *compiled) {
    Sequence sequence(shape, capacity());
    std::vector<float> rows = all(*code, sequence);
    for (auto [threads, chunk] : {std::pair<int64_t, int64_t>(1, shape.tokens), {3, 64}, {2, 50}, {5, 7}, {4, 1}}) {
      Sequence own(shape, capacity() + 64);
      std::vector<float> got;
      for (int64_t first = 0; first < shape.tokens; first += chunk) {
        auto part = step(*code, first, std::min(shape.tokens, first + chunk), own, threads);
        got.insert(got.end(), part.begin(), part.end());
      }
      ASSERT_EQ(got, rows) << target->name << ", " << threads << " threads, chunks of " << chunk;
    }
  }
}

/// The last row alone: all ways to split its keys.
TEST_P(AttentionKernelTest, OneRowOnAnyNumberOfThreads) {
  for (auto &[target, code] : *compiled) {
    Sequence sequence(shape, capacity());
    std::vector<float> last = row(all(*code, sequence), shape.tokens - 1);
    for (int64_t threads = 1; threads <= 9; ++threads)
      ASSERT_EQ(step(*code, shape.tokens - 1, shape.tokens, sequence, threads), last)
          << target->name << ", " << threads << " threads";
  }
}

/// One token each for sequences of several lengths, in caches of several sizes.
TEST_P(AttentionKernelTest, BatchesOfSequences) {
  if (shape.tokens > 1000)
    GTEST_SKIP() << "quadratic";
  for (auto &[target, code] : *compiled) {
    Sequence whole(shape, capacity());
    std::vector<float> rows = all(*code, whole), expected;
    std::vector<int32_t> positions = {int32_t(shape.tokens - 1), 3, 64, int32_t(shape.tokens / 2)};
    std::vector<std::unique_ptr<Sequence>> sequences;
    std::vector<Sequence *> pointers;
    for (int32_t position : positions) {
      sequences.push_back(std::make_unique<Sequence>(shape, capacity() + 64 * int64_t(sequences.size())));
      pointers.push_back(sequences.back().get());
      step(*code, 0, position, *pointers.back(), 2);
      auto one = row(rows, position);
      expected.insert(expected.end(), one.begin(), one.end());
    }
    for (int64_t threads : {1, 3, 5})
      ASSERT_EQ(step(*code, positions, pointers, threads), expected) << target->name << ", " << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionKernelTest,
                         testing::Combine(testing::ValuesIn(kShapes), testing::ValuesIn(codegen::kCacheKinds)),
                         [](const auto &info) {
                           return "s" + std::get<0>(info.param).name() + "_" +
                                  codegen::cacheKindName(std::get<1>(info.param));
                         });
