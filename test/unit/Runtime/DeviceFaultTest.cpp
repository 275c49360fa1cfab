// What can go wrong with a device ends in one clear sentence, and the processor still works.
#include "DeviceFixture.h"

using namespace quern;
using namespace quern::test;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

namespace {

/// The device "auto" is the processor, with `why` as the note.
#define EXPECT_FALLS_BACK(model, why)                                                                                  \
  do {                                                                                                                 \
    ASSERT_TRUE(model) << model.error().message;                                                                       \
    EXPECT_STREQ(model->info().device, "cpu");                                                                         \
    EXPECT_STREQ(model->info().target, "x86-64");                                                                      \
    EXPECT_THAT(model->info().device_note, HasSubstr(why));                                                            \
    auto session = model->session(64);                                                                                 \
    ASSERT_TRUE(session->decode(1));                                                                                   \
    EXPECT_EQ((*session->logits())['a'], 1.0f);                                                                        \
  } while (false)

TEST_F(DeviceTest, NamesThatMeanNoDevice) {
  EXPECT_EQ(refusal("tpu"), "'tpu' names no device; it should be one of cpu, auto, cuda, cuda:N, opencl, opencl:N");
  EXPECT_THAT(refusal("cuda:"), HasSubstr("'cuda:' names no device"));
  EXPECT_THAT(refusal("cuda:x"), HasSubstr("names no device"));
  EXPECT_THAT(refusal("cuda:-1"), HasSubstr("names no device"));
  EXPECT_EQ(refusal("cuda:3"), "there is no device cuda:3; there are cuda:0 (PTX executor)");
}

TEST_F(DeviceTest, NoDeviceAndTooOldADriver) {
  set("DEVICES", "0");
  EXPECT_EQ(refusal("cuda"), "NVIDIA's driver finds no device");
  auto none = open("auto");
  EXPECT_FALLS_BACK(none, "NVIDIA's driver finds no device");
  set("VERSION", "11040");
  EXPECT_EQ(refusal("cuda"),
            "NVIDIA's driver is too old: it is for CUDA 11.4; CUDA 12.0 (driver 525) or later is needed");
  auto old = open("auto");
  EXPECT_FALLS_BACK(old, "too old");
  set("VERSION", "0");
  EXPECT_EQ(refusal("cuda"), "libcuda.so.1 is the stub that a CUDA toolkit links against, not NVIDIA's driver; take "
                             "its folder out of LD_LIBRARY_PATH");
}

TEST_F(DeviceTest, GpusThatThereIsNoCodeFor) {
  set("CAPABILITY", "70");
  std::string expected =
      "the GPU cuda:0 (PTX executor) has the compute capability 7.0; 7.5 or later is needed";
  for (const char *device : {"cuda", "cuda:0"})
    EXPECT_EQ(refusal(device), expected);
  EXPECT_EQ(refusal("cuda:1"), "there is no device cuda:1");
  auto fallen = open("auto");
  EXPECT_FALLS_BACK(fallen, expected);
}

TEST_F(DeviceTest, ListsDevices) {
  auto visit = [] {
    std::string all;
    auto devices = api::devices();
    for (const api::Device &device : *devices)
      if (device.id.starts_with("cuda")) // what there is of OpenCL is the machine's
        all += device.id + "|" + device.name + "|" + device.target + "|" + std::to_string(device.memoryBytes) + "|" +
               device.problem;
    return all;
  };
  EXPECT_EQ(visit(), "cuda:0|PTX executor|nvptx:sm_80|1073741824|");
  set("CAPABILITY", "90");
  set("MEMORY", "1000");
  EXPECT_EQ(visit(), "cuda:0|PTX executor|nvptx:sm_90|1000|");
  set("CAPABILITY", "52");
  EXPECT_EQ(visit(), "cuda|PTX executor|nvptx:sm_52|1000|the GPU cuda:0 (PTX executor) has the compute capability 5.2; "
                     "7.5 or later is needed");
  set("DEVICES", "0");
  EXPECT_EQ(visit(), "cuda|||0|NVIDIA's driver finds no device");
}

TEST_F(DeviceTest, PackageWithoutCodeForTheDevice) {
  set("CAPABILITY", "75");
  EXPECT_EQ(refusal("cuda"), path + ": has no code for cuda:0 (PTX executor, nvptx:sm_75); it has x86-64, nvptx:sm_80; "
                                    "compile the model with --target nvptx:sm_75");
  auto older = open("auto");
  EXPECT_FALLS_BACK(older, "has no code for cuda:0");
  set("CAPABILITY", "90"); // PTX for earlier ones runs
  EXPECT_TRUE(open("cuda"));
  EXPECT_EQ(refusal("cuda", [](auto &options) { options.target = "nvptx:sm_90"; }),
            path + ": has no code 'nvptx:sm_90' (--target) that runs on cuda:0 (PTX executor, nvptx:sm_90); it has "
                   "x86-64, nvptx:sm_80; leave --target out for what fits");
  auto processor = open("auto", [](auto &options) { options.target = "x86-64"; });
  EXPECT_FALLS_BACK(processor, "");
  EXPECT_STREQ(processor->info().device_note, "");

  set("DEVICES", "0"); // what asks for a device's code by name does not end on the processor
  EXPECT_THAT(refusal("auto", [](auto &options) { options.target = "nvptx:sm_80"; }),
              HasSubstr("NVIDIA's driver finds no device"));
  set("DEVICES", "1");

  package.manifest.devices.clear();
  package.write(path);
  EXPECT_THAT(refusal("cuda"), HasSubstr("it has x86-64; compile the model with --target nvptx:sm_90"));
  auto without = open("auto");
  EXPECT_FALLS_BACK(without, "has no code for devices");
}

TEST_F(DeviceTest, PackageForDevicesAlone) {
  package.withProcessorCode = false;
  package.write(path);
  EXPECT_TRUE(open("auto"));
  EXPECT_EQ(refusal("cpu"), path + ": has code for devices alone (nvptx:sm_80); run it with --device auto, or compile "
                                   "the model with --target cpu too");
  EXPECT_THAT(refusal(nullptr), HasSubstr("for devices alone"));
  set("DEVICES", "0");
  EXPECT_THAT(refusal("auto"), HasSubstr("NVIDIA's driver finds no device"));
  set("DEVICES", "1");
  set("MEMORY", "3000"); // there is no code for the processor to turn to
  EXPECT_THAT(refusal("cuda"), HasSubstr("another device or the processor (compile the model with --target cpu too)"));
}

TEST_F(DeviceTest, CacheTypesThatDevicesDoNotHave) {
  EXPECT_EQ(refusal("cuda", [](auto &options) { options.cache_type = "q8_0"; }),
            "on a device the key-value cache is of type f16, not q8_0 (--cache-type)");
}

TEST_F(DeviceTest, TooLittleMemoryForTheModel) {
  set("MEMORY", "3000");
  std::string expected = "the model needs 21.6 KiB on cuda:0 (1.6 KiB of weights, the rest to work in), of which 2.9 "
                         "KiB are free; use another device or the processor (--device cpu)";
  EXPECT_EQ(refusal("cuda"), expected);
  EXPECT_EQ(open("cuda").error().status, QUERN_OUT_OF_MEMORY);
  auto model = open("auto");
  EXPECT_FALLS_BACK(model, expected);
  EXPECT_EQ(living(), kNothing);
}

TEST_F(DeviceTest, TooLittleMemoryForTheCacheSaysWhichContextFits) {
  set("MEMORY", "23212"); // the model and 1,100 bytes
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto session = model->session(1000);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().status, QUERN_OUT_OF_MEMORY);
  EXPECT_THAT(session.error().message,
              AllOf(StartsWith("the key-value cache of a context of 1000 tokens needs 4.0 KiB on cuda:0, of which "),
                    HasSubstr("B are free; one of 256 would fit (-c 256)")));
  auto fitting = model->session(256);
  ASSERT_TRUE(fitting) << fitting.error().message;
  EXPECT_TRUE(fitting->decode(1));
  EXPECT_THAT(model->session(200).error().message, HasSubstr("not even the shortest would fit"));
}

/// Where there is no room for the context that is asked for, "auto" goes on before anything runs.
TEST_F(DeviceTest, TooLittleMemoryForTheContextWhenOpening) {
  set("MEMORY", "23212");
  auto ask = [](int64_t tokens) { return [tokens](auto &options) { options.context_length = tokens; }; };
  std::string expected = "the key-value cache of a context of 1000 tokens needs 4.0 KiB on cuda:0, of which ";
  EXPECT_THAT(refusal("cuda", ask(1000)), AllOf(StartsWith(expected), HasSubstr("one of 256 would fit (-c 256)")));
  auto fallen = open("auto", ask(1000));
  EXPECT_FALLS_BACK(fallen, expected);
  EXPECT_EQ(living(), kNothing);
  EXPECT_THAT(refusal("cuda", ask(-1)), HasSubstr("a context of " + std::to_string(kFakeContext) + " tokens needs "));
  auto model = open("auto", ask(256));
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_STREQ(model->info().device, "cuda:0");
  EXPECT_TRUE(model->session(256)) << "nothing was kept";
}

TEST_F(DeviceTest, ModulesThatTheDriverRejects) {
  package.ptx.insert(package.ptx.find("END:"), "frobnicate.b32 %r1, %r2;\n");
  package.write(path);
  std::string expected = "cuda:0: the driver rejects the code for 'nvptx:sm_80': the PTX was rejected (error 218); it "
                         "says: kernel store_one, line ";
  EXPECT_THAT(refusal("cuda"), AllOf(StartsWith(expected), HasSubstr("frobnicate.b32 is not known")));
  auto model = open("auto");
  EXPECT_FALLS_BACK(model, expected);
  EXPECT_EQ(living(), kNothing);
}

/// The driver takes an address and no length, so that only text comes to it.
TEST_F(DeviceTest, ModulesThatAreNoText) {
  package.ptx.insert(0, "\x7f" "ELF");
  package.ptx.push_back('\0');
  package.ptx += "more";
  package.write(path);
  EXPECT_THAT(refusal("cuda"), StartsWith("cuda:0: the driver rejects the code for 'nvptx:sm_80': "));
  EXPECT_EQ(callsFor("modules"), 0u);
}

TEST_F(DeviceTest, KernelsThatTheModuleLacks) {
  package.program.plans[1].launches[2].kernel = "missing";
  package.write(path);
  EXPECT_EQ(refusal("cuda"), "cuda:0: the package's code has no kernel 'missing': named symbol not found (error 500)");
  package.program.plans[1].launches[2].kernel = "sum";
  package.program.plans[1].launches[2].sharedBytes = 1 << 20;
  package.write(path);
  EXPECT_THAT(refusal("cuda"), HasSubstr("kernel 'sum' cannot have 1048576 bytes of shared memory"));
  package.program.plans[1].launches[2].sharedBytes = 100 << 10; // more than an sm_86 gives a block
  package.write(path);
  EXPECT_TRUE(open("cuda"));
  set("CAPABILITY", "86");
  EXPECT_THAT(refusal("cuda"), HasSubstr("kernel 'sum' cannot have 102400 bytes of shared memory"));
}

TEST_F(DeviceTest, ProgramsThatDoNotHoldTogether) {
  package.program.plans[0].launches[2].arguments[4].offset = 1 << 20;
  package.write(path);
  EXPECT_EQ(refusal("cuda"), path +
                                 ": section 'program/nvptx:sm_80': launch 2 of the plan for 1 tokens: offset 1048576 "
                                 "lies outside the weights of " +
                                 std::to_string(package.weights.size()) + " bytes");
  package.manifest.devices[0].program = "program/missing";
  package.write(path);
  EXPECT_THAT(refusal("cuda"), HasSubstr("the package has no section 'program/missing'"));
}

/// Kernels that have fewer parameters in the program than in the module read zeros for the rest.
TEST_F(DeviceTest, ArgumentsThatAreMissing) {
  package.program.plans[0].launches[0].arguments.resize(1);
  package.write(path);
  auto model = open("cuda");
  ASSERT_TRUE(model) << model.error().message;
  auto session = model->session(64);
  EXPECT_THAT(session->decode(1).error().message, HasSubstr("in test.store_one (kernel store_one)"));
}

TEST_F(DeviceTest, FaultsNameTheOpAndLeaveTheProcessorUsable) {
  set("FAIL_LAUNCH", "2");
  {
    auto model = open("cuda");
    ASSERT_TRUE(model) << model.error().message;
    auto session = model->session(64), other = model->session(64);
    auto done = session->decode(1);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().status, QUERN_DEVICE_FAILED);
    EXPECT_EQ(done.error().message,
              "cuda:0: the work given to the device failed: unspecified launch failure (error 719) in test.sum 'rows' "
              "(kernel sum); the device cannot be used by this process any more; use the processor (--device cpu)");
    EXPECT_EQ(session->position(), 0);
    EXPECT_THAT(other->decode(1).error().message, StartsWith("the device stopped working earlier: cuda:0: the work"));
    auto processor = open("cpu");
    EXPECT_FALLS_BACK(processor, "");
    auto fallen = open("auto"); // the context is still broken
    EXPECT_FALLS_BACK(fallen, "cuda:0: ");
  }
  EXPECT_EQ(living(), kNothing);
}

TEST_F(DeviceTest, FaultsOfLaterStepsNameTheOpIfAsked) {
  // Three launches a step; the fifth is in the second step of one token.
  set("FAIL_LAUNCH", "5");
  auto second = [&](bool check) {
    auto model = open("cuda", [&](auto &options) { options.check_kernels = check; });
    EXPECT_TRUE(model) << model.error().message;
    auto session = model->session(64);
    EXPECT_TRUE(session->decode(1));
    auto done = session->decode(1);
    return done ? "" : done.error().message;
  };
  EXPECT_THAT(second(false), HasSubstr("in a step of 1 tokens (--check-kernels tells in which op); the device cannot"));
  EXPECT_THAT(second(true), HasSubstr("in test.sum 'rows' (kernel sum); the device cannot"));
  EXPECT_EQ(living(), kNothing);
}

} // namespace
