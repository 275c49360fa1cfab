// The manifest: prints and parses to the same, and refuses what does not hold together.
#include "quern/Runtime/KernelABI.h"
#include "quern/Runtime/Manifest.h"

#include <gtest/gtest.h>

using namespace quern;

namespace {

/// As printed of this version's code.
const std::string kAbiVersion = "\"abi_version\": " + std::to_string(QUERN_KERNEL_ABI_VERSION);

Manifest sample() {
  Manifest manifest;
  manifest.producer = "quern test";
  manifest.model = {"language_model", "qwen2", "tiny \"name\"", 2, 64, 4, 2, 16, 96, 300, 512, 12345};
  manifest.sizes = {"tokens", "outputs"};
  manifest.inputs = {{"token_ids", "i32", {{-1, "tokens"}}}};
  manifest.outputs = {{"logits", "f32", {{-1, "outputs"}, {300, ""}}}};
  manifest.arena = {100, 64, {1000, 10}};
  manifest.cache = {256, 64, {{"f16", 256}, {"q8_0", 136}}};
  manifest.code = {{"x86-64-v2", "code.x86-64-v2", {"sse4_2"}, {{"step", 64}}}};
  manifest.devices = {{"nvptx:sm_80", "cuda", "device/nvptx:sm_80", "program/nvptx:sm_80", {{"80", "cubin/sm_80"}}},
                      {"spirv", "opencl", "device/spirv", "program/spirv", {}}};
  manifest.tokenizer = {7, {8, 9}, true, 290};
  manifest.chatTemplate = "chatml";
  manifest.generation = {{"temperature", 0.5}};
  return manifest;
}

std::string refusal(const std::string &json) {
  auto manifest = parseManifest(json, "p");
  return manifest ? "" : manifest.error().message;
}

/// The sample with `from` replaced by `to` in its JSON.
std::string refusal(const std::string &from, const std::string &to) {
  std::string json = printManifest(sample());
  size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return refusal(json.replace(at, from.size(), to));
}

TEST(Manifest, ParsesWhatItPrints) {
  std::string json = printManifest(sample());
  auto manifest = parseManifest(json, "p");
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(printManifest(*manifest), json);
  EXPECT_EQ(manifest->code[0].entries.at("step"), 64);
  EXPECT_EQ(manifest->outputs[0].shape[1].value, 300);
  EXPECT_EQ(manifest->outputs[0].shape[0].size, "outputs");
}

TEST(Manifest, ReadsDevices) {
  auto manifest = parseManifest(printManifest(sample()), "p");
  ASSERT_TRUE(manifest) << manifest.error().message;
  ASSERT_EQ(manifest->devices.size(), 2u);
  EXPECT_EQ(manifest->devices[0].target, "nvptx:sm_80");
  EXPECT_EQ(manifest->devices[0].cubins.at("80"), "cubin/sm_80");
  EXPECT_EQ(manifest->devices[1].api, "opencl");
  EXPECT_EQ(manifest->devices[1].program, "program/spirv");
  EXPECT_TRUE(manifest->devices[1].cubins.empty());

  Manifest earlier = sample();
  earlier.devices.clear();
  std::string json = printManifest(earlier);
  EXPECT_EQ(json.find("devices"), std::string::npos);
  EXPECT_TRUE(parseManifest(json, "p")->devices.empty());
}

TEST(Manifest, RefusesDevicesThatItCannotRun) {
  EXPECT_NE(refusal("\"api\": \"cuda\"", "\"api\": \"cu\"").find("'nvptx:sm_80' has the api 'cu'"), std::string::npos);
  EXPECT_NE(refusal("\"device/spirv\"", "\"weights\"").find("should begin with 'device/'"), std::string::npos);
  EXPECT_NE(refusal("\"program/spirv\"", "\"plan\"").find("should begin with 'program/'"), std::string::npos);
  EXPECT_NE(refusal("\"cubin/sm_80\"", "\"code\"").find("should begin with 'cubin/'"), std::string::npos);
  EXPECT_NE(refusal("\"cubin/sm_80\"", "80").find("'80' should be a string"), std::string::npos);
  EXPECT_NE(refusal("\"target\": \"spirv\"", "\"target\": 1").find("'target' should be a string"), std::string::npos);
}

TEST(Manifest, KnowsHalvesAloneWhereNoCacheTypesAre) {
  Manifest earlier = sample();
  earlier.cache.types.clear();
  std::string json = printManifest(earlier);
  EXPECT_EQ(json.find("q8_0"), std::string::npos);
  auto manifest = parseManifest(json, "p");
  ASSERT_TRUE(manifest);
  EXPECT_EQ(manifest->cache.types, (std::map<std::string, int64_t>{{"f16", 256}}));
}

TEST(Manifest, RefusesOtherVersions) {
  std::string later = "\"abi_version\": " + std::to_string(QUERN_KERNEL_ABI_VERSION + 1);
  EXPECT_NE(refusal(kAbiVersion, later).find("compile the model again"), std::string::npos);
  EXPECT_NE(refusal(kAbiVersion, "\"abi_version\": 0").find("compile the model again"), std::string::npos);
  EXPECT_NE(refusal("\"format_version\": 1", "\"format_version\": 9").find("format version 9"), std::string::npos);
}

TEST(Manifest, TakesEarlierKernelInterfaces) {
  for (unsigned version = 1; version < QUERN_KERNEL_ABI_VERSION; ++version) {
    std::string json = printManifest(sample());
    size_t at = json.find(kAbiVersion);
    ASSERT_NE(at, std::string::npos);
    json.replace(at, kAbiVersion.size(), "\"abi_version\": " + std::to_string(version));
    EXPECT_TRUE(parseManifest(json, "p")) << version;
  }
}

TEST(Manifest, RefusesWhatDoesNotHoldTogether) {
  EXPECT_NE(refusal("").find("not a JSON object"), std::string::npos);
  EXPECT_NE(refusal("[1,2").find("not a JSON object"), std::string::npos);
  EXPECT_NE(refusal("{}").find("'format_version' is missing"), std::string::npos);
  EXPECT_NE(refusal("\"layers\": 2", "\"layers\": -2").find("'layers' should be a whole number"), std::string::npos);
  EXPECT_NE(refusal("\"layers\": 2", "\"layers\": 2.5").find("'layers'"), std::string::npos);
  EXPECT_NE(refusal("\"constant\": 100", "\"constant\": 18446744073709551615").find("'constant'"), std::string::npos);
  EXPECT_NE(refusal("\"sizes\": [\n      1000,", "\"sizes\": [").find("one number for each"), std::string::npos);
  EXPECT_NE(refusal("\"outputs\",\n        300", "\"rows\",\n        300").find("unknown size 'rows'"),
            std::string::npos);
  EXPECT_NE(refusal("\"section\": \"code.x86-64-v2\"", "\"section\": \"weights\"").find("no code section"),
            std::string::npos);
  EXPECT_NE(refusal("\"bytes_per_position\": 256", "\"bytes_per_position\": 0").find("a whole number from 1 to"),
            std::string::npos);
  EXPECT_NE(refusal("\"q8_0\": 136", "\"q8_0\": -1").find("'cache type q8_0'"), std::string::npos);
  EXPECT_NE(refusal("language_model", "image_model").find("image_model"), std::string::npos);
  EXPECT_NE(refusal("\"temperature\": 0.5", "\"temperature\": \"hot\"").find("'temperature'"), std::string::npos);
}

} // namespace
