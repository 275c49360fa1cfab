// A language model without a compiler: its step is a C++ function that follows the kernel ABI. It keeps each token in
// the cache, and the logits of a row are largest at (sum of the tokens up to it) mod 256, so that a wrong position,
// cache, chunk or batch gives a wrong answer.
#ifndef QUERN_TEST_FAKEMODEL_H
#define QUERN_TEST_FAKEMODEL_H

#include "lib/Runtime/Model.h"
#include "test/unit/Tokenizer/ToyTokenizer.h"

#include <memory>
#include <vector>

namespace quern::test {

constexpr int64_t kFakeContext = 1000;

/// What the last steps were, for tests that look at the driving.
struct StepLog {
  std::vector<std::pair<int64_t, int64_t>> steps; ///< tokens and outputs of each
  static StepLog &get();
};

Manifest fakeManifest(int64_t vocabulary);

struct FakeModel {
  TokenizerSource source;
  std::vector<uint8_t> tables;
  std::vector<uint8_t> weights;
  std::unique_ptr<runtime::Model> model;
};
FakeModel makeFakeModel(int threads = 1, int chunk = 16);

/// What the fake predicts after these tokens.
int32_t expectedNext(const std::vector<int32_t> &tokens);

} // namespace quern::test

#endif // QUERN_TEST_FAKEMODEL_H
