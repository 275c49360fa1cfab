// Programs that choose the likeliest token: what comes back from the device, and when.
#include "DeviceFixture.h"

#include <thread>

using namespace quern;
using namespace quern::test;

namespace {

struct DeviceChoiceTest : DeviceTest {
  void SetUp() override {
    DeviceTest::SetUp();
    package.chooseTokens();
    package.write(path);
  }
};

api::Sampler samplerOf(const api::Model &model, float temperature, float penalty = 1) {
  quern_sampler_options options = api::samplerOptions();
  options.temperature = temperature;
  options.repeat_penalty = penalty;
  return *model.sampler(options);
}

/// All logits are those of a model that expects the next token.
void expectLogits(const api::Session &session, const std::vector<int32_t> &tokens) {
  auto logits = session.logits();
  ASSERT_TRUE(logits) << logits.error().message;
  for (size_t v = 0; v < logits->size(); ++v)
    ASSERT_EQ((*logits)[v], int32_t(v) == expectedNext(tokens) ? 10.0f : 0.001f * float(v)) << v;
}

TEST_F(DeviceChoiceTest, GreedyGenerationBringsTokensAlone) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto session = model->session();
  auto greedy = samplerOf(*model, 0);
  std::vector<int32_t> tokens = {3, 1, 4, 1, 5};
  size_t before = callsFor("bytes read");
  ASSERT_TRUE(session->prefill(tokens));
  for (int i = 0; i < 5; ++i) {
    auto token = greedy.sample(*session);
    ASSERT_TRUE(token) << token.error().message;
    ASSERT_EQ(*token, expectedNext(tokens));
    tokens.push_back(*token);
    ASSERT_TRUE(session->decode(*token));
  }
  EXPECT_EQ(callsFor("bytes read") - before, 6 * sizeof(int32_t));
  for (int i = 0; i < 2; ++i) // the second time they are there
    expectLogits(*session, tokens);
  EXPECT_EQ(callsFor("bytes read") - before, 6 * sizeof(int32_t) + 4 * size_t(package.vocabulary()));
  EXPECT_EQ(*greedy.sample(*session), expectedNext(tokens));
}

/// The likeliest token is no answer where the logits are to be changed or drawn from first.
TEST_F(DeviceChoiceTest, OtherSamplersGetLogits) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto session = model->session();
  std::vector<int32_t> tokens = {7, 7, 7, 242}; // after which 7 comes, which the penalty's window holds
  ASSERT_EQ(expectedNext(tokens), 7);
  ASSERT_TRUE(session->prefill(tokens));
  EXPECT_EQ(*samplerOf(*model, 0).sample(*session), 7);
  EXPECT_EQ(*samplerOf(*model, 0, 1e6f).sample(*session), int32_t(model->info().tokens - 1));
  EXPECT_EQ(*samplerOf(*model, 0.01f).sample(*session), 7);
}

TEST_F(DeviceChoiceTest, LogitsOutliveTheStepsOfOthers) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  std::vector<std::vector<int32_t>> tokens = {{1, 2}, {3}, {5, 8, 13}};
  std::vector<api::Session> sessions;
  std::vector<quern_session *> handles;
  for (const auto &own : tokens) {
    sessions.push_back(*model->session());
    handles.push_back(sessions.back().get());
    ASSERT_TRUE(sessions.back().prefill(own));
  }
  expectLogits(sessions[0], tokens[0]); // after the steps of the others
  std::vector<int32_t> given = {21, 34, 55};
  ASSERT_TRUE(api::decodeBatch(handles, given));
  for (size_t s = 0; s < 3; ++s)
    tokens[s].push_back(given[s]);
  expectLogits(sessions[1], tokens[1]); // in the midst of a batch
  ASSERT_TRUE(sessions[1].truncate(1));
  EXPECT_FALSE(sessions[1].logits());
  EXPECT_FALSE(samplerOf(*model, 0).sample(sessions[1]));
  sessions.erase(sessions.begin()); // whose logits nobody asked for
  ASSERT_TRUE(sessions[0].decode(9));
  expectLogits(sessions[1], tokens[2]);
  expectLogits(sessions[0], {3, 9});
}

TEST_F(DeviceChoiceTest, SessionsOfSeveralThreadsTakeTurns) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto generate = [&](int32_t first) {
    auto session = model->session(100);
    auto greedy = samplerOf(*model, 0);
    std::vector<int32_t> tokens = {first};
    ASSERT_TRUE(session->prefill(tokens));
    for (int i = 0; i < 30; ++i) {
      if ((i + first) % 3 == 0)
        expectLogits(*session, tokens);
      tokens.push_back(*greedy.sample(*session));
      ASSERT_EQ(tokens.back(), expectedNext({tokens.begin(), tokens.end() - 1}));
      ASSERT_TRUE(session->decode(tokens.back()));
    }
  };
  std::vector<std::thread> threads;
  for (int32_t t = 1; t <= 4; ++t)
    threads.emplace_back(generate, t);
  for (std::thread &thread : threads)
    thread.join();
}

TEST_F(DeviceChoiceTest, AFaultTakesNoLogitsOfEarlierSteps) {
  set("FAIL_LAUNCH", "5"); // the first of the second step
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto session = model->session(), other = model->session();
  ASSERT_TRUE(session->prefill(std::vector<int32_t>{1, 2}));
  auto failed = other->decode(1);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().status, QUERN_DEVICE_FAILED);
  EXPECT_FALSE(other->logits());
  EXPECT_FALSE(samplerOf(*model, 0).sample(*other));
  expectLogits(*session, {1, 2});
  EXPECT_FALSE(session->decode(1));
  EXPECT_FALSE(session->logits());
}

} // namespace
