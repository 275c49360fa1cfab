// Models on a device, by the C API, over the fake driver of CUDA in test/ptx/driver: the program finds it by its run
// path, and the environment says what kind of device it is.
#include "DeviceFixture.h"

#include <thread>

using namespace quern;
using namespace quern::test;
using testing::HasSubstr;

namespace {

/// The likeliest token after the session's last one.
int32_t next(const api::Session &session) {
  auto logits = *session.logits();
  return int32_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

std::vector<int32_t> someTokens(size_t count, int32_t first) {
  std::vector<int32_t> out(count);
  for (size_t i = 0; i < count; ++i)
    out[i] = int32_t(first + int32_t(i) * 7) % 250;
  return out;
}

/// A prompt in several chunks, then tokens one by one, each followed by what the model should say.
void expectGenerates(api::Model &model, size_t prompt, int32_t first) {
  auto session = model.session(200);
  ASSERT_TRUE(session) << session.error().message;
  std::vector<int32_t> tokens = someTokens(prompt, first);
  auto done = session->prefill(tokens);
  ASSERT_TRUE(done) << done.error().message;
  for (int i = 0; i < 4; ++i) {
    int32_t token = next(*session);
    ASSERT_EQ(token, expectedNext(tokens)) << "after " << tokens.size();
    tokens.push_back(token);
    ASSERT_TRUE(session->decode(token));
  }
  EXPECT_EQ(session->logits()->back(), 0.001f * float(model.info().vocabulary - 1));
}

TEST_F(DeviceTest, GeneratesLikeTheProcessor) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_STREQ(model->info().device, "cuda:0");
  EXPECT_STREQ(model->info().device_name, "PTX executor");
  EXPECT_STREQ(model->info().device_note, "");
  EXPECT_STREQ(model->info().target, "nvptx:sm_80");
  EXPECT_EQ(model->info().chunk_tokens, kFakeMostTokens);
  EXPECT_EQ(model->info().threads, 0);
  EXPECT_EQ(model->info().weights_bytes, package.weights.size());
  for (size_t prompt : {1, 2, 16, 17, 41})
    expectGenerates(*model, prompt, int32_t(prompt));
}

TEST_F(DeviceTest, GivesTheLogitsOfAllTokensAndGoesBack) {
  auto model = open("cuda:0", [](auto &options) { options.chunk_tokens = 5; });
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->info().chunk_tokens, 5);
  auto session = model->session();
  std::vector<int32_t> tokens = someTokens(23, 3);
  size_t seen = 4, vocabulary = size_t(model->info().vocabulary);
  ASSERT_TRUE(session->prefillAllLogits(tokens, 4, [&](size_t first, size_t rows, std::span<const float> logits) {
    EXPECT_EQ(first, seen);
    for (size_t r = 0; r < rows; ++r, ++seen)
      EXPECT_EQ(logits[r * vocabulary + size_t(expectedNext({tokens.begin(), tokens.begin() + long(seen) + 1}))],
                10.0f);
    return true;
  }));
  EXPECT_EQ(seen, 23u);
  ASSERT_TRUE(session->truncate(7));
  tokens.resize(7);
  tokens.push_back(99);
  ASSERT_TRUE(session->decode(99));
  EXPECT_EQ(next(*session), expectedNext(tokens));
}

TEST_F(DeviceTest, DecodesSeveralSessionsInOneStep) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  std::vector<api::Session> sessions;
  std::vector<quern_session *> handles;
  std::vector<std::vector<int32_t>> tokens;
  for (size_t s = 0; s < 20; ++s) { // more than a step takes
    sessions.push_back(*model->session(64 + int64_t(s)));
    handles.push_back(sessions.back().get());
    tokens.push_back(someTokens(s + 1, int32_t(s)));
    ASSERT_TRUE(sessions.back().prefill(tokens.back()));
  }
  for (size_t count : {3, 3, 20}) {
    std::vector<int32_t> given;
    for (size_t s = 0; s < count; ++s) {
      given.push_back(int32_t(5 * s + count));
      tokens[s].push_back(given.back());
    }
    auto done = api::decodeBatch(std::span(handles).first(count), given);
    ASSERT_TRUE(done) << done.error().message;
    for (size_t s = 0; s < count; ++s)
      EXPECT_EQ(next(sessions[s]), expectedNext(tokens[s])) << s << " of " << count;
  }
}

TEST_F(DeviceTest, ReplaysARecordedStepWhereTheDriverCan) {
  auto replays = [&] {
    auto model = open("cuda");
    EXPECT_TRUE(model) << model.error().message;
    expectGenerates(*model, 3, 1);
    return callsFor("graphs");
  };
  EXPECT_EQ(replays(), 3u); // of four tokens one by one, the first finds out whether the kernels work
  set("GRAPHS", "0");
  EXPECT_EQ(replays(), 0u);
}

/// All launches of a step but the first, from the driver on whose graphs keep it.
TEST_F(DeviceTest, LaunchesOverlapWhereDriverAndProgramLetThem) {
  package.overlapLaunches();
  package.write(path);
  auto overlapping = [&](const char *capability, const char *version) {
    set("CAPABILITY", capability);
    set("VERSION", version);
    auto model = open("cuda");
    EXPECT_TRUE(model) << model.error().message;
    expectGenerates(*model, 3, 1);
    return callsFor("overlapping launches");
  };
  EXPECT_EQ(overlapping("90", "12020"), 0u);
  // The prompt, the first token, and the second, which is recorded; of three launches each.
  EXPECT_EQ(overlapping("90", "12030"), 6u);
  EXPECT_EQ(overlapping("120", "13000"), 6u);
  // Code for older devices cannot wait, whatever the program says.
  FakeDevicePackage older;
  older.program.overlaps = true;
  older.write(path);
  EXPECT_EQ(overlapping("90", "12030"), 0u);
}

TEST_F(DeviceTest, CountersAreZeroWhenAModelIsOpened) {
  package.takeCounters();
  package.write(path);
  for (int i = 0; i < 2; ++i) { // the second time where the first had its memory
    auto model = open("cuda");
    ASSERT_TRUE(model) << model.error().message;
    expectGenerates(*model, 3, 1);
  }
}

TEST_F(DeviceTest, LeavesNothingBehind) {
  {
    auto model = open("cuda");
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(living(), "3 allocations, 1 pinned, 1 streams, 1 modules, 0 events, 0 graphs, 1 contexts");
    for (int i = 0; i < 1000; ++i) {
      auto session = model->session(64);
      ASSERT_TRUE(session) << session.error().message;
      ASSERT_TRUE(session->decode(i % 200));
      ASSERT_EQ(next(*session), i % 200);
    }
    EXPECT_EQ(living(), "3 allocations, 1 pinned, 1 streams, 1 modules, 0 events, 1 graphs, 1 contexts");
  }
  EXPECT_EQ(living(), kNothing);
  for (int i = 0; i < 20; ++i) {
    auto model = open("cuda");
    ASSERT_TRUE(model) << model.error().message;
    ASSERT_TRUE(model->session(64));
  }
  EXPECT_EQ(living(), kNothing);
}

TEST_F(DeviceTest, TakesNoMemoryWhileRunning) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto session = model->session();
  size_t allocations = callsFor("allocations"), pinned = callsFor("pinned");
  std::string before;
  for (int round = 0; round < 3; ++round) { // from the second time on all is recorded that ever is
    ASSERT_TRUE(session->prefill(someTokens(40, 2)));
    ASSERT_TRUE(session->prefillAllLogits(someTokens(40, 2), 0, [](auto, auto, auto) { return true; }));
    ASSERT_TRUE(session->decode(1));
    ASSERT_TRUE(model->startProfile());
    ASSERT_TRUE(session->decode(1));
    ASSERT_TRUE(model->stopProfile());
    before = round == 1 ? living() : before;
  }
  EXPECT_EQ(callsFor("allocations"), allocations);
  EXPECT_EQ(callsFor("pinned"), pinned);
  EXPECT_EQ(living(), before);
  EXPECT_THAT(before, HasSubstr("4 allocations, 1 pinned, 1 streams, 1 modules, 0 events, "));
}

TEST_F(DeviceTest, SessionsOfSeveralThreadsTakeTurns) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&model, t] {
      for (int round = 0; round < 5; ++round)
        expectGenerates(*model, size_t(3 + 9 * t), t + round);
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST_F(DeviceTest, LeavesNothingBehindWhereMemoryIsRefused) {
  for (int i = 1; i <= 3; ++i) {
    set("FAIL_ALLOCATION", std::to_string(i));
    auto model = open("cuda");
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().status, QUERN_OUT_OF_MEMORY);
    EXPECT_THAT(model.error().message, HasSubstr(" are refused in one piece, though 1.0 GiB are free; use another"));
    EXPECT_EQ(living(), kNothing) << i;
  }
}

TEST_F(DeviceTest, ACacheThatIsRefusedLeavesTheModelUsable) {
  set("FAIL_ALLOCATION", "4"); // the first after the model's three
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto refused = model->session(64);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, QUERN_OUT_OF_MEMORY);
  EXPECT_THAT(refused.error().message, HasSubstr(" 256 B on cuda:0, which are refused in one piece, though "));
  EXPECT_THAT(refused.error().message, HasSubstr("not even the shortest would fit"));
  expectGenerates(*model, 3, 1);
}

/// What is advised was tried.
TEST_F(DeviceTest, ACacheThatIsRefusedThoughMemoryIsFree) {
  set("FAIL_ALLOCATION", "4");
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  std::string refused = model->session(200).error().message;
  EXPECT_THAT(refused, HasSubstr("a context of 200 tokens needs "));
  EXPECT_THAT(refused, HasSubstr("; one of 192 would fit (-c 192)"));
  EXPECT_TRUE(model->session(192));
  EXPECT_EQ(living(), "3 allocations, 1 pinned, 1 streams, 1 modules, 0 events, 0 graphs, 1 contexts");
}

TEST_F(DeviceTest, TakesStructsOfEarlierVersions) {
  auto model = open("cuda", [](auto &options) { options.struct_size = offsetof(quern_model_options, device); });
  ASSERT_TRUE(model) << model.error().message;
  quern_model_info info{};
  info.struct_size = offsetof(quern_model_info, device);
  ASSERT_EQ(quern_model_get_info(model->get(), &info), QUERN_OK);
  EXPECT_STREQ(info.target, "x86-64") << "there was no device then";
  EXPECT_EQ(info.device, nullptr) << "nothing is written behind the end";
  info.struct_size = offsetof(quern_model_info, device_code);
  ASSERT_EQ(quern_model_get_info(model->get(), &info), QUERN_OK);
  EXPECT_STREQ(info.device, "cpu");
  EXPECT_EQ(info.device_code, nullptr);
  EXPECT_TRUE(open("cuda", [](auto &options) { options.struct_size = offsetof(quern_model_options, context_length); }));
  info.struct_size = 8;
  EXPECT_EQ(quern_model_get_info(model->get(), &info), QUERN_INVALID_ARGUMENT);
}

TEST_F(DeviceTest, TellsOfCopyingTheWeightsAndStopsIt) {
  package.weights.resize(size_t(33) << 20); // three pieces
  package.program.plans[0].launches[2].arguments[4].offset = int64_t(32) << 20;
  std::memcpy(&package.weights[size_t(32) << 20], &package.weights[512], size_t(4 * package.vocabulary()));
  package.write(path);
  std::vector<uint64_t> steps;
  auto record = [](void *user, uint64_t done, uint64_t total) {
    static_cast<std::vector<uint64_t> *>(user)->push_back(done);
    return total == size_t(33) << 20 ? 0 : 1;
  };
  auto model = open("cuda", [&](auto &options) {
    options.progress = record;
    options.progress_user = &steps;
  });
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(steps, (std::vector<uint64_t>{16 << 20, 32 << 20, 33 << 20}));
  expectGenerates(*model, 1, 5);

  auto stopped = open("auto", [&](auto &options) { options.progress = [](void *, uint64_t, uint64_t) { return 1; }; });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().status, QUERN_CANCELLED);
}

TEST_F(DeviceTest, TimesEachLaunch) {
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto session = model->session(64);
  ASSERT_TRUE(session->prefill(someTokens(5, 1)));
  ASSERT_TRUE(model->startProfile());
  ASSERT_TRUE(session->decode(1));
  auto times = model->stopProfile();
  ASSERT_TRUE(times);
  ASSERT_EQ(times->size(), 7u); // of both plans
  for (size_t i = 0; i < 7; ++i)
    EXPECT_EQ((*times)[i] > 0, i < 3) << i;
  EXPECT_GT((*times)[2], (*times)[0]) << "hundreds of threads run longer than one";
  ASSERT_TRUE(model->startProfile());
  ASSERT_TRUE(session->truncate(0));
  ASSERT_TRUE(session->prefill(someTokens(5, 1)));
  times = model->stopProfile();
  ASSERT_TRUE(times);
  for (size_t i = 0; i < 7; ++i)
    EXPECT_EQ((*times)[i] > 0, i >= 3 && i != 4) << i << "; launch 4 is made for other numbers of outputs";
  EXPECT_EQ(next(*session), expectedNext(someTokens(5, 1)));
}

TEST_F(DeviceTest, FallsBackToPtxWhereMachineCodeIsRefused) {
  package.manifest.devices[0].cubins = {{"80", "cubin/sm_80"}};
  package.sections = {{"cubin/sm_80", "\x7f"
                                      "ELF" +
                                          std::string(54, '\0') + "\x40" + std::string(5, '\0')}};
  package.write(path);
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(callsFor("modules"), 2u); // the machine code first
  EXPECT_THAT(model->info().device_code, testing::StartsWith("PTX, since machine code for sm_80 cannot be used: "));
  expectGenerates(*model, 2, 9);
}

/// An ELF file whose sections lie beyond it never comes to the driver, which would read on.
TEST_F(DeviceTest, DamagedMachineCodeIsNotGivenToTheDriver) {
  std::string elf(128, '\0');
  elf.replace(0, 4,
              "\x7f"
              "ELF");
  elf[40] = 64, elf[58] = 64, elf[60] = 1; // one section, described at byte 64
  elf[64 + 4] = 1, elf[64 + 32] = 127, elf[64 + 33] = 1;
  package.manifest.devices[0].cubins = {{"80", "cubin/sm_80"}};
  package.sections = {{"cubin/sm_80", elf}};
  package.write(path);
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(callsFor("modules"), 1u);
  expectGenerates(*model, 2, 9);
}

/// The code of an earlier device of the same major number does, and the PTX is not looked at.
TEST_F(DeviceTest, TakesMachineCodeOfTheDevicesKind) {
  set("CAPABILITY", "86");
  package.manifest.devices[0].cubins = {{"80", "cubin/sm_80"}, {"75", "cubin/sm_75"}};
  package.sections = {{"cubin/sm_80", package.ptx + '\0'}, {"cubin/sm_75", "of another kind"}};
  package.write(path);
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_STREQ(model->info().device_code, "machine code for sm_80");
  expectGenerates(*model, 2, 9);
  EXPECT_EQ(callsFor("modules"), 1u);
}

} // namespace
