// A device's program: prints and parses to the same, and refuses what does not hold together.
#include "quern/Runtime/DeviceProgram.h"
#include "quern/Runtime/Manifest.h"

#include <gtest/gtest.h>

using namespace quern;

namespace {

using Kind = LaunchArgument::Kind;
constexpr uint64_t kWeightsBytes = 4096;

Manifest manifest() {
  Manifest out;
  out.sizes = {"tokens", "outputs"};
  out.inputs = {{"token_ids", "i32", {{-1, "tokens"}}}};
  out.outputs = {{"logits", "f32", {{-1, "outputs"}, {300, ""}}}};
  return out;
}

/// Two plans: one token, and up to 64.
DeviceProgram sample() {
  Launch launch;
  launch.kernel = "rms_norm_64";
  launch.op = "lm.rms_norm";
  launch.name = "blk.0.attn_norm";
  launch.grid[0] = {{1, {2, 0}}, 4};
  launch.threads = 128;
  launch.sharedBytes = 1024;
  launch.when = {1, 3, 7};
  launch.arguments = {{Kind::Weights, 4095, 0, {}}, {Kind::Arena, 0, 0, {255, {256, 0}}},
                      {Kind::Input, 0, 0, {}},      {Kind::Output, 0, 0, {}},
                      {Kind::Size, 0, 1, {}},       {Kind::Constant, -7, 0, {}}};
  for (GridDimension *dimension : {&launch.grid[1], &launch.grid[2]})
    dimension->numerator.constant = 1;
  DeviceProgram program;
  program.arena = {256, {256, 1024}};
  program.plans = {{1, 1, {launch}}, {2, 64, {launch, launch}}};
  return program;
}

std::string refusal(const std::string &json) {
  auto program = parseDeviceProgram(json, manifest(), kWeightsBytes, "p: section 'program/x'");
  return program ? "" : program.error().message;
}

/// The sample with the first `from` replaced by `to` in its JSON.
std::string refusal(const std::string &from, const std::string &to) {
  std::string json = printDeviceProgram(sample());
  size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from << " in " << json;
  return refusal(json.replace(at, from.size(), to));
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(DeviceProgram, ChoosesTokensWhereAllPlansDo) {
  DeviceProgram program = sample();
  EXPECT_FALSE(program.choosesTokens());
  for (LaunchPlan &plan : program.plans) {
    EXPECT_FALSE(program.choosesTokens());
    plan.launches.back().arguments.push_back({Kind::Choice, 0, 0, {}});
  }
  auto read = parseDeviceProgram(printDeviceProgram(program), manifest(), kWeightsBytes, "p");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(read->choosesTokens());
  EXPECT_EQ(read->plans[1].launches[1].arguments.back().kind, Kind::Choice);
}

TEST(DeviceProgram, DrawsTokensWhereAllPlansDo) {
  DeviceProgram program = sample();
  for (LaunchPlan &plan : program.plans) {
    EXPECT_FALSE(program.drawsTokens());
    plan.launches.back().arguments.push_back({Kind::Draw, 0, 0, {}});
  }
  EXPECT_FALSE(program.drawsTokens()) << "what is not drawn has to be chosen";
  for (LaunchPlan &plan : program.plans)
    plan.launches.back().arguments.push_back({Kind::Choice, 0, 0, {}});
  auto read = parseDeviceProgram(printDeviceProgram(program), manifest(), kWeightsBytes, "p");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(read->drawsTokens());
  EXPECT_TRUE(read->plans[0].launches[0].takes(Kind::Draw));
  EXPECT_FALSE(read->plans[1].launches[0].takes(Kind::Draw));
}

TEST(DeviceProgram, SaysWhetherLaunchesMayOverlap) {
  DeviceProgram program = sample();
  EXPECT_FALSE(parseDeviceProgram(printDeviceProgram(program), manifest(), kWeightsBytes, "p")->overlaps);
  program.overlaps = true;
  std::string json = printDeviceProgram(program);
  EXPECT_TRUE(parseDeviceProgram(json, manifest(), kWeightsBytes, "p")->overlaps);
  EXPECT_SAYS(refusal(json.replace(json.find("\"overlaps\":true"), 15, "\"overlaps\":1")), "'overlaps' should be");
}

TEST(DeviceProgram, HasTheCountersThatLaunchesTake) {
  DeviceProgram program = sample();
  program.counters = 12;
  program.plans[0].launches[0].arguments.push_back({Kind::Counters, 0, 0, {}});
  std::string json = printDeviceProgram(program);
  auto read = parseDeviceProgram(json, manifest(), kWeightsBytes, "p");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->counters, 12);
  EXPECT_EQ(read->plans[0].launches[0].arguments.back().kind, Kind::Counters);
  program.counters = 0;
  EXPECT_SAYS(refusal(printDeviceProgram(program)), "is the address of counters, but the program has none");
  EXPECT_SAYS(refusal(json.replace(json.find("\"counters\":12"), 13, "\"counters\":-1")), "'counters' should be");
}

TEST(DeviceProgram, ParsesWhatItPrints) {
  std::string json = printDeviceProgram(sample());
  auto program = parseDeviceProgram(json, manifest(), kWeightsBytes, "p");
  ASSERT_TRUE(program) << program.error().message;
  EXPECT_EQ(printDeviceProgram(*program), json);
  EXPECT_EQ(program->mostTokens(), 64);
  ASSERT_EQ(program->plans.size(), 2u);
  ASSERT_EQ(program->plans[1].launches.size(), 2u);
  const Launch &launch = program->plans[1].launches[1];
  EXPECT_EQ(launch.kernel, "rms_norm_64");
  EXPECT_EQ(launch.op, "lm.rms_norm");
  EXPECT_EQ(launch.name, "blk.0.attn_norm");
  EXPECT_EQ(launch.threads, 128);
  EXPECT_EQ(launch.sharedBytes, 1024);
  ASSERT_EQ(launch.arguments.size(), 6u);
  EXPECT_EQ(launch.arguments[0].offset, 4095);
  EXPECT_EQ(launch.arguments[4].index, 1);
  EXPECT_EQ(launch.arguments[5].kind, Kind::Constant);
  EXPECT_EQ(launch.arguments[5].offset, -7);
  std::vector<int64_t> sizes = {8, 3};
  EXPECT_EQ(launch.arguments[1].place.at(sizes), 255 + 8 * 256);
  EXPECT_EQ(launch.grid[0].at(sizes), 5); // (1 + 2 * 8) / 4, up
  EXPECT_EQ(launch.grid[1].at(sizes), 1);
  ASSERT_TRUE(launch.when);
  EXPECT_TRUE(launch.when->holds(sizes));
  EXPECT_FALSE(launch.when->holds(std::vector<int64_t>{8, 1}));
  EXPECT_FALSE(launch.when->holds(std::vector<int64_t>{8, 8}));
  EXPECT_EQ(program->arena.at(sizes), 256 + 8 * 256 + 3 * 1024);
}

TEST(DeviceProgram, RefusesOtherVersionsAndForms) {
  EXPECT_SAYS(refusal(""), "p: section 'program/x': the program is not a JSON object");
  EXPECT_SAYS(refusal("[]"), "not a JSON object");
  EXPECT_SAYS(refusal("{}"), "'version' is missing");
  EXPECT_SAYS(refusal("\"version\":1", "\"version\":2"), "program version 2, this runtime has 1; compile");
  EXPECT_SAYS(refusal("\"plans\":[", "\"plans\":[],\"x\":["), "there is no plan");
  EXPECT_SAYS(refusal("\"arguments\":[", "\"arguments\":[3,"), "'kind' should be a string");
  EXPECT_SAYS(refusal("\"kind\":\"size\"", "\"kind\":\"row\""), "unknown kind 'row'");
  EXPECT_SAYS(refusal("\"grid\":[", "\"grid\":[{\"numerator\":1,\"divisor\":1},"), "three dimensions");
  EXPECT_SAYS(refusal("\"rms_norm_64\"", "\"\""), "launch 0 of the plan for 1 tokens: the kernel's name");
  EXPECT_SAYS(refusal("\"rms_norm_64\"", "\"a\\u0000b\""), "the kernel's name");
  EXPECT_SAYS(refusal("\"perSize\":[256,1024]", "\"perSize\":[256]"), "one number for each of the 2 sizes");
  std::string many = "\"arguments\":[";
  for (int i = 0; i < 130; ++i)
    many += "{\"kind\":\"constant\",\"offset\":0},";
  EXPECT_SAYS(refusal("\"arguments\":[", many), "more than 128 arguments");
}

TEST(DeviceProgram, RefusesPlansThatDoNotFollowEachOther) {
  EXPECT_SAYS(refusal("\"least\":1", "\"least\":2"), "a plan for 2 to 1 tokens stands where one from 1 on should");
  EXPECT_SAYS(refusal("\"least\":2", "\"least\":3"), "a plan for 3 to 64 tokens stands where one from 2 on should");
  EXPECT_SAYS(refusal("\"most\":64", "\"most\":1"), "a plan for 2 to 1 tokens");
  EXPECT_SAYS(refusal("\"most\":64", "\"most\":65537"), "'most' should be a whole number from 1 to 65536");
}

TEST(DeviceProgram, RefusesWhatLiesOutside) {
  EXPECT_SAYS(refusal("\"offset\":4095", "\"offset\":4096"), "outside the weights of 4096 bytes");
  EXPECT_SAYS(refusal("\"offset\":4095", "\"offset\":-1"), "'offset' should be a whole number");
  EXPECT_SAYS(refusal("\"input\",\"index\":0", "\"input\",\"index\":1"), "input 1 is not one of the manifest's 1");
  EXPECT_SAYS(refusal("\"output\",\"index\":0", "\"output\",\"index\":9"), "output 9 is not one of");
  EXPECT_SAYS(refusal("\"size\",\"index\":1", "\"size\",\"index\":2"), "size 2 is not one of the manifest's 2");
}

TEST(DeviceProgram, RefusesPlacesOutsideTheArenaOfAnySizes) {
  // The arena has 256 + 256 tokens + 1024 outputs bytes, outputs at least 1.
  EXPECT_EQ(refusal("\"constant\":255", "\"constant\":1279"), "");
  EXPECT_SAYS(refusal("\"constant\":255", "\"constant\":1280"),
              "launch 0 of the plan for 1 tokens: a place lies outside the arena");
  EXPECT_EQ(refusal("\"perSize\":[256,0]", "\"perSize\":[256,1024]"), "");
  EXPECT_SAYS(refusal("\"perSize\":[256,0]", "\"perSize\":[257,1024]"), "outside the arena"); // from 2 tokens on
  // Fewer bytes a token than the arena make up for a larger constant only from some number of tokens on.
  EXPECT_SAYS(refusal("{\"constant\":255,\"perSize\":[256,0]}", "{\"constant\":1536,\"perSize\":[0,0]}"),
              "outside the arena");
}

TEST(DeviceProgram, RefusesWhatNoDeviceTakes) {
  EXPECT_SAYS(refusal("\"threads\":128", "\"threads\":1025"), "'threads' should be a whole number from 1 to 1024");
  EXPECT_SAYS(refusal("\"threads\":128", "\"threads\":0"), "'threads'");
  EXPECT_SAYS(refusal("\"sharedBytes\":1024", "\"sharedBytes\":-1"), "'sharedBytes'");
  EXPECT_SAYS(refusal("\"divisor\":4", "\"divisor\":0"), "'divisor'");
  EXPECT_SAYS(refusal("{\"numerator\":1,", "{\"numerator\":65536,"), "more than 65535 blocks in dimension 1");
  EXPECT_EQ(refusal("{\"numerator\":1,", "{\"numerator\":65535,"), "");
  EXPECT_SAYS(refusal("\"perSize\":[2,0]", "\"perSize\":[17179869184,0]"), "more than 2147483647 blocks");
  EXPECT_SAYS(refusal("\"perSize\":[2,0]", "\"perSize\":[-2,0]"), "'perSize' should be a whole number");
}

TEST(DeviceProgram, RefusesConditionsThatNeverHold) {
  std::string when = "\"when\":{\"index\":1,\"least\":3,\"most\":7}";
  EXPECT_SAYS(refusal(when, "\"when\":{\"index\":2,\"least\":2,\"most\":7}"), "size 2 is not one of");
  EXPECT_SAYS(refusal(when, "\"when\":{\"index\":1,\"least\":2,\"most\":1}"), "'most' should be a whole number");
  EXPECT_SAYS(refusal(when, "\"when\":{\"index\":1,\"least\":-1,\"most\":1}"), "'least' should be a whole number");
  EXPECT_SAYS(refusal(when, "\"when\":3"), "'when'");
}

TEST(DeviceProgram, RefusesNumbersThatOverflow) {
  EXPECT_SAYS(refusal("\"perSize\":[256,1024]", "\"perSize\":[256,17592186044417]"), "'perSize'");
  EXPECT_SAYS(refusal("\"offset\":-7", "\"offset\":18446744073709551615"), "'offset'");
  Manifest wide = manifest();
  std::string arena = "\"arena\":{\"constant\":0,\"perSize\":[";
  for (int i = 0; i < 9; ++i) { // 9 sizes of 2^44 * 65536 bytes
    wide.sizes.push_back("s" + std::to_string(i));
    arena += i == 0 ? "0,0,17592186044416" : ",17592186044416";
  }
  auto program = parseDeviceProgram("{\"version\":1," + arena + "]},\"plans\":[]}", wide, kWeightsBytes, "p");
  ASSERT_FALSE(program);
  EXPECT_SAYS(program.error().message, "'arena' is larger than any memory");
}

} // namespace
