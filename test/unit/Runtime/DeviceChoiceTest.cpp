// Programs that choose tokens: what comes back from the device, and when.
#include "DeviceFixture.h"
#include "quern/Runtime/Sampler.h"

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

struct DeviceDrawTest : DeviceChoiceTest {
  void SetUp() override {
    DeviceChoiceTest::SetUp();
    package.drawTokens();
    package.write(path);
  }
};

quern_sampler_options drawing(int32_t topK, uint64_t seed) {
  quern_sampler_options options = api::samplerOptions();
  options.top_k = topK;
  options.seed = seed;
  return options;
}

/// What the program's kernel makes of the settings that such a sampler has at a position.
int32_t expectedDraw(int32_t topK, uint64_t seed, int64_t position) {
  SamplerSettings settings;
  settings.topK = topK;
  settings.seed = seed;
  return topK + int32_t(drawOn(settings, uint64_t(position))->random * 64);
}

TEST_F(DeviceDrawTest, DrawingBringsTokensAlone) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto session = model->session();
  auto sampler = *model->sampler(drawing(40, 7));
  std::vector<int32_t> tokens = {3, 1, 4, 1, 5};
  size_t before = callsFor("bytes read"), logits = 4 * size_t(package.vocabulary());
  ASSERT_TRUE(session->prefill(tokens));
  for (int i = 0; i < 20; ++i) {
    auto token = sampler.sample(*session);
    ASSERT_TRUE(token) << token.error().message;
    if (i > 0) // before, nobody knew how the session would be sampled
      ASSERT_EQ(*token, expectedDraw(40, 7, session->position())) << i;
    ASSERT_EQ(*sampler.sample(*session), *token);
    tokens.push_back(*token);
    ASSERT_TRUE(session->decode(*token));
    EXPECT_EQ(callsFor("bytes read") - before, logits + size_t(i + 2) * sizeof(int32_t));
  }
  expectLogits(*session, tokens);
  ASSERT_TRUE(session->truncate(2));
  ASSERT_TRUE(session->prefill(std::vector<int32_t>{8, 9})); // the settings are known by now
  EXPECT_EQ(*sampler.sample(*session), expectedDraw(40, 7, 4));
  EXPECT_GT(callsFor("graphs"), 10u);
}

/// Another sampler than the last one, one with a penalty, and a draw that the device leaves to the host.
TEST_F(DeviceDrawTest, OtherSamplersGetLogits) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto session = model->session();
  auto first = *model->sampler(drawing(40, 7)), second = *model->sampler(drawing(40, 8)),
       large = *model->sampler(drawing(2000, 7));
  std::vector<int32_t> tokens = {7, 7, 7, 242}; // after which 7 comes
  ASSERT_TRUE(session->prefill(tokens));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(*first.sample(*session), 7);
    EXPECT_EQ(*second.sample(*session), 7);
    EXPECT_EQ(*samplerOf(*model, 0, 1e6f).sample(*session), int32_t(model->info().tokens - 1));
    EXPECT_EQ(*large.sample(*session), 7); // the last, so that the next step draws so
    ASSERT_TRUE(session->truncate(3));
    ASSERT_TRUE(session->decode(242));
  }
  EXPECT_EQ(*large.sample(*session), 7);
  EXPECT_EQ(*samplerOf(*model, 0).sample(*session), 7);
  ASSERT_TRUE(session->decode(7));
  tokens.push_back(7);
  EXPECT_EQ(*samplerOf(*model, 0).sample(*session), expectedNext(tokens));
}

TEST_F(DeviceDrawTest, EachSessionOfAStepIsDrawnItsOwnWay) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  constexpr size_t kSessions = 20; // more than a step takes
  std::vector<api::Session> sessions;
  std::vector<api::Sampler> samplers;
  std::vector<quern_session *> handles;
  std::vector<std::vector<int32_t>> tokens(kSessions);
  for (size_t s = 0; s < kSessions; ++s) {
    sessions.push_back(*model->session());
    handles.push_back(sessions.back().get());
    samplers.push_back(s % 4 == 1 ? samplerOf(*model, 0) : *model->sampler(drawing(int32_t(20 + s), s)));
    tokens[s] = {int32_t(s), int32_t(2 * s)};
    ASSERT_TRUE(sessions[s].prefill(tokens[s]));
    ASSERT_TRUE(samplers[s].sample(sessions[s]));
  }
  for (int step = 0; step < 3; ++step) {
    std::vector<int32_t> given;
    for (size_t s = 0; s < kSessions; ++s) {
      given.push_back(int32_t(s) + step);
      tokens[s].push_back(given.back());
    }
    ASSERT_TRUE(api::decodeBatch(handles, given));
    for (size_t s = 0; s < kSessions; ++s) {
      int32_t drawn = expectedDraw(int32_t(20 + s), s, sessions[s].position());
      EXPECT_EQ(*samplers[s].sample(sessions[s]), s % 4 == 1 ? expectedNext(tokens[s]) : drawn) << s;
    }
  }
}

/// Launches that draw are made only where a row is drawn.
TEST_F(DeviceDrawTest, GreedyStepsDrawNothing) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto session = model->session();
  ASSERT_TRUE(session->prefill(std::vector<int32_t>{1, 2}));
  size_t last = package.program.plans[0].launches.size() - 1;
  for (bool draws : {false, true}) {
    ASSERT_TRUE((draws ? *model->sampler(drawing(40, 7)) : samplerOf(*model, 0)).sample(*session));
    ASSERT_TRUE(model->startProfile());
    ASSERT_TRUE(session->decode(3));
    auto times = model->stopProfile();
    ASSERT_TRUE(times);
    EXPECT_GT((*times)[last - 1], 0u);
    EXPECT_EQ((*times)[last] > 0, draws);
  }
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
