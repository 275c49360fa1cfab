// Sessions over the fake model: chunks, batches, contexts, truncation.
#include "FakeModel.h"
#include "lib/Runtime/Session.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <numeric>

using namespace quern;
using namespace quern::runtime;
using namespace quern::test;

namespace {

using Ids = std::vector<int32_t>;

Ids someTokens(int count, int first = 3) {
  Ids out;
  for (int i = 0; i < count; ++i)
    out.push_back((first + 7 * i) % 200);
  return out;
}

std::unique_ptr<Session> makeSession(FakeModel &fake, int64_t context = 0) {
  auto session = Session::create(*fake.model, context);
  if (!session) {
    ADD_FAILURE() << session.error().message;
    std::abort();
  }
  return *std::move(session);
}

int32_t best(std::span<const float> row) {
  return int32_t(std::max_element(row.begin(), row.end()) - row.begin());
}

TEST(Session, PromptsGoInChunksAndOnlyTheLastRowHasLogits) {
  FakeModel fake = makeFakeModel(2, 16);
  auto session = makeSession(fake);
  Ids tokens = someTokens(40);
  ASSERT_TRUE(session->prefill(tokens));
  EXPECT_EQ(best(*session->logits()), expectedNext(tokens));
  EXPECT_EQ(StepLog::get().steps, (std::vector<std::pair<int64_t, int64_t>>{{16, 0}, {16, 0}, {8, 1}}));
  EXPECT_EQ(session->position(), 40);
}

TEST(Session, DecodingGoesOn) {
  for (int threads : {1, 2, 3}) {
    FakeModel fake = makeFakeModel(threads);
    auto session = makeSession(fake);
    Ids tokens = someTokens(5);
    ASSERT_TRUE(session->prefill(tokens));
    for (int i = 0; i < 100; ++i) {
      int32_t next = best(*session->logits());
      ASSERT_EQ(next, expectedNext(tokens));
      tokens.push_back(next);
      Session *one = session.get();
      ASSERT_TRUE(Session::decode({&one, 1}, {&next, 1}));
    }
    EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), session->tokens().begin(), session->tokens().end()));
  }
}

TEST(Session, AllLogitsFromAGivenToken) {
  FakeModel fake = makeFakeModel(2, 100);
  auto session = makeSession(fake);
  Ids tokens = someTokens(150);
  size_t expectedFirst = 30;
  auto status = session->prefillAllLogits(tokens, 30, [&](size_t first, size_t rows, const float *logits) {
    EXPECT_EQ(first, expectedFirst);
    size_t vocabulary = size_t(fake.model->vocabulary());
    for (size_t r = 0; r < rows; ++r)
      EXPECT_EQ(best({logits + r * vocabulary, vocabulary}),
                expectedNext(Ids(tokens.begin(), tokens.begin() + long(first + r) + 1)));
    expectedFirst += rows;
    return true;
  });
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(expectedFirst, 150u);
  EXPECT_EQ(best(*session->logits()), expectedNext(tokens));
  EXPECT_EQ(StepLog::get().steps[0], (std::pair<int64_t, int64_t>{30, 0}));
}

TEST(Session, BatchesKeepSequencesApart) {
  FakeModel fake = makeFakeModel(2, 4);
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Session *> pointers;
  std::vector<Ids> tokens;
  for (int i = 0; i < 10; ++i) { // more than a chunk
    sessions.push_back(makeSession(fake, 100 + i));
    pointers.push_back(sessions.back().get());
    tokens.push_back(someTokens(1 + 3 * i, i));
    ASSERT_TRUE(sessions.back()->prefill(tokens.back()));
  }
  for (int round = 0; round < 5; ++round) {
    Ids next;
    for (size_t i = 0; i < 10; ++i) {
      next.push_back(best(*pointers[i]->logits()));
      ASSERT_EQ(next.back(), expectedNext(tokens[i]));
      tokens[i].push_back(next.back());
    }
    ASSERT_TRUE(Session::decode(pointers, next));
  }
}

TEST(Session, BatchesAreChecked) {
  FakeModel fake = makeFakeModel(), other = makeFakeModel();
  auto a = makeSession(fake), b = makeSession(other);
  Ids tokens = {1, 2};
  std::vector<Session *> twice = {a.get(), a.get()}, mixed = {a.get(), b.get()};
  EXPECT_EQ(Session::decode(twice, tokens).error().message, "a session is in the batch twice");
  EXPECT_EQ(Session::decode(mixed, tokens).error().message, "the sessions of a batch belong to different models");
  EXPECT_EQ(a->position(), 0);
}

TEST(Session, TheContextIsALimit) {
  FakeModel fake = makeFakeModel();
  auto session = makeSession(fake, 10);
  ASSERT_TRUE(session->prefill(someTokens(8)));
  auto full = session->prefill(someTokens(3));
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().status, QUERN_CONTEXT_FULL);
  EXPECT_EQ(full.error().message, "3 more tokens do not fit: the session holds 8 of its context of 10; make the "
                                  "context longer (-c)");
  EXPECT_EQ(session->position(), 8);
  EXPECT_TRUE(session->logits());
  EXPECT_TRUE(session->prefill(someTokens(2)));
  EXPECT_EQ(Session::create(*fake.model, kFakeContext + 1).error().status, QUERN_INVALID_ARGUMENT);
  EXPECT_EQ(makeSession(fake)->contextLength(), kFakeContext);
}

TEST(Session, Truncates) {
  FakeModel fake = makeFakeModel();
  auto session = makeSession(fake);
  Ids tokens = someTokens(20);
  ASSERT_TRUE(session->prefill(tokens));
  ASSERT_TRUE(session->truncate(7));
  EXPECT_EQ(session->logits().error().message, "the session has no logits yet; process a token first");
  tokens.resize(7);
  tokens.push_back(99);
  ASSERT_TRUE(session->prefill(Ids{99}));
  EXPECT_EQ(best(*session->logits()), expectedNext(tokens));
  EXPECT_FALSE(session->truncate(9));
  EXPECT_FALSE(session->truncate(-1));
  EXPECT_TRUE(session->truncate(8)); // nothing to do
  EXPECT_TRUE(session->logits());
}

TEST(Session, RefusesTokensOutsideTheVocabulary) {
  FakeModel fake = makeFakeModel();
  auto session = makeSession(fake);
  EXPECT_FALSE(session->prefill(Ids{1, -1}));
  EXPECT_FALSE(session->prefill(Ids{int32_t(fake.model->vocabulary())}));
  EXPECT_FALSE(session->prefill(Ids{}));
}

TEST(Session, ProgressCanStopAPrompt) {
  FakeModel fake = makeFakeModel(1, 16);
  auto session = makeSession(fake);
  std::vector<uint64_t> seen;
  session->setProgress([&](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 40u);
    seen.push_back(done);
    return done < 32;
  });
  auto status = session->prefill(someTokens(40));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().status, QUERN_CANCELLED);
  EXPECT_EQ(seen, (std::vector<uint64_t>{16, 32}));
  EXPECT_EQ(session->position(), 32);
}

TEST(Model, ChecksItsTensors) {
  auto refusal = [](auto change) {
    FakeModel fake = makeFakeModel();
    ModelParts parts;
    parts.manifest = fakeManifest(fake.model->vocabulary());
    parts.source = "p";
    parts.tokenizerTables = fake.tables;
    parts.weights = fake.weights;
    parts.step = [](const QuernCall *) {};
    ModelOptions options;
    change(parts, options);
    auto model = Model::assemble(std::move(parts), options);
    return model ? "" : model.error().message;
  };
  auto expect = [&](const char *part, auto change) {
    EXPECT_NE(refusal(change).find(part), std::string::npos) << refusal(change);
  };
  EXPECT_EQ(refusal([](auto &, auto &) {}), "");
  expect("input 'pixels'", [](auto &parts, auto &) { parts.manifest.inputs[0].name = "pixels"; });
  expect("input 'caches' of type i32", [](auto &parts, auto &) { parts.manifest.inputs[2].type = "i32"; });
  expect("no output 'logits'", [](auto &parts, auto &) { parts.manifest.outputs.clear(); });
  expect("there twice", [](auto &parts, auto &) { parts.manifest.inputs.push_back(parts.manifest.inputs[0]); });
  expect("dynamic sizes", [](auto &parts, auto &) { parts.manifest.sizes = {"tokens"}; });
  expect("the tokenizer has", [](auto &parts, auto &) {
    parts.manifest.model.vocabulary = 9;
    parts.manifest.outputs[0].shape[1].value = 9;
  });
  expect("the working memory of the model needs", [](auto &parts, auto &) {
    parts.manifest.arena.constant = int64_t(1) << 44;
  });
  expect("more working memory than any machine", [](auto &parts, auto &) {
    parts.manifest.arena.sizes[0] = int64_t(1) << 44;
  });
  expect("number of threads is -1", [](auto &, auto &options) { options.threads = -1; });
  expect("prompt chunk is -5", [](auto &, auto &options) { options.chunkTokens = -5; });
}

} // namespace
