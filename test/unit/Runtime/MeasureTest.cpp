// Measuring over the fake model: profiled steps and probes.
#include "FakeModel.h"
#include "lib/Runtime/Session.h"

#include <gtest/gtest.h>

using namespace quern;
using namespace quern::runtime;
using namespace quern::test;

namespace {

TEST(Measure, ProfiledStepsComputeTheSameAndTimeEachCall) {
  for (int threads : {1, 2}) {
    FakeModel fake = makeFakeModel(threads);
    auto session = Session::create(*fake.model, 0);
    ASSERT_TRUE(session);
    ASSERT_TRUE((*session)->prefill(std::vector<int32_t>{3, 4, 5}));
    std::vector<float> plain((*session)->logits()->begin(), (*session)->logits()->end());
    ASSERT_TRUE((*session)->truncate(0));
    ASSERT_TRUE(fake.model->startProfile());
    ASSERT_TRUE((*session)->prefill(std::vector<int32_t>{3, 4, 5}));
    std::vector<uint64_t> times = fake.model->stopProfile();
    ASSERT_EQ(times.size(), 2u);
    EXPECT_GT(times[0], 0u);
    EXPECT_EQ(std::vector<float>((*session)->logits()->begin(), (*session)->logits()->end()), plain);

    ASSERT_TRUE((*session)->prefill(std::vector<int32_t>{6}));
    EXPECT_EQ(fake.model->stopProfile(), times) << "the plain step is not timed";
    ASSERT_TRUE(fake.model->startProfile());
    EXPECT_TRUE(fake.model->stopProfile().empty()) << "a new profile begins empty";
  }
}

TEST(Measure, ProbesSumTheWorkOfAllThreads) {
  FakeModel fake = makeFakeModel(2);
  auto work = fake.model->probe("probe_fake", 3);
  ASSERT_TRUE(work) << work.error().message;
  EXPECT_EQ(*work, 2 * (30 + sizeof(int64_t)));
}

TEST(Measure, RefusesWhatIsNoProbe) {
  FakeModel fake = makeFakeModel();
  EXPECT_NE(fake.model->probe("probe_none", 1).error().message.find("no entry 'probe_none'"), std::string::npos);
  EXPECT_NE(fake.model->probe("step", 1).error().message.find("is no probe"), std::string::npos);
  EXPECT_NE(fake.model->probe("probe_fake", 0).error().message.find("0 rounds"), std::string::npos);
}

} // namespace
