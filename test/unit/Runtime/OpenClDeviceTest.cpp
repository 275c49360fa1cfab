// What can go wrong with a device of OpenCL before a kernel runs, over the fake library in test/opencl.
#include "DeviceFixture.h"

using namespace quern;
using namespace quern::test;
using testing::HasSubstr;

namespace {

// Before anything asks for libOpenCL.so.1, which is this one from then on.
void *const library = ::dlopen(QUERN_FAKE_OPENCL_LIBRARY, RTLD_NOW | RTLD_LOCAL);

/// The package's code is a module of SPIR-V with one instruction, OpFunctionEnd.
struct OpenClDeviceTest : DeviceTest {
  void SetUp() override {
    ASSERT_NE(library, nullptr);
    DeviceTest::SetUp();
    package.manifest.devices[0].target = "spirv";
    package.manifest.devices[0].api = "opencl";
    setModule({0x07230203, 0x00010300, 0, 1, 0, 0x00010038});
    ::setenv("QUERN_FAKE_OPENCL", "gpu", 1);
    ::setenv("QUERN_CACHE", "none", 1);
  }
  void TearDown() override {
    for (const char *name :
         {"QUERN_FAKE_OPENCL", "QUERN_FAKE_OPENCL_LARGEST", "QUERN_FAKE_OPENCL_FAULT", "QUERN_CACHE"})
      ::unsetenv(name);
    DeviceTest::TearDown();
  }
  void setModule(const std::vector<uint32_t> &words, size_t without = 0) {
    package.ptx.assign(reinterpret_cast<const char *>(words.data()), 4 * words.size() - without);
    package.write(path);
  }
};

TEST_F(OpenClDeviceTest, ShowsTheLogOfADriverThatRejectsTheCode) {
  std::string expected = "opencl:0: the driver rejects the code for 'spirv': CL_BUILD_PROGRAM_FAILURE (-11); it says: "
                         "there is no compiler in here";
  EXPECT_EQ(refusal("opencl"), expected);
  auto model = open("auto");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_STREQ(model->info().device, "cpu");
  EXPECT_EQ(model->info().device_note, expected);
  auto session = model->session(64);
  EXPECT_TRUE(session->decode(1));
}

/// Where nothing else is there either, "auto" says that it left a device out.
TEST_F(OpenClDeviceTest, TheProcessorIsTakenOnlyByName) {
  ::setenv("QUERN_FAKE_OPENCL", "cpu", 1);
  set("DEVICES", "0");
  auto model = open("auto");
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_STREQ(model->info().device_note, "NVIDIA's driver finds no device; opencl:0 (fake cpu) is a processor, which "
                                          "is taken only where it is asked for");
  EXPECT_THAT(refusal("opencl"), HasSubstr("opencl:0: the driver rejects the code"));
}

/// Drivers crash over what was cut off.
TEST_F(OpenClDeviceTest, ModulesThatAreNotWholeDoNotComeToTheDriver) {
  const std::string expected = "opencl:0: the code for 'spirv' is no whole module of SPIR-V; compile the model again";
  setModule({});
  EXPECT_EQ(refusal("opencl"), expected);
  setModule({0x03022307, 0x00010300, 0, 1, 0, 0x00010038}); // of the other byte order
  EXPECT_EQ(refusal("opencl"), expected);
  setModule({0x07230203, 0x00010300, 0, 1, 0});
  EXPECT_EQ(refusal("opencl"), expected);
  setModule({0x07230203, 0x00010300, 0, 1, 0, 0x00010038, 0x00010038}, 1);
  EXPECT_EQ(refusal("opencl"), expected);
  setModule({0x07230203, 0x00010300, 0, 1, 0, 0x00020038}); // an instruction beyond the end
  EXPECT_EQ(refusal("opencl"), expected);
  setModule({0x07230203, 0x00010300, 0, 1, 0, 0x00000038}); // and one that never ends
  EXPECT_EQ(refusal("opencl"), expected);
  setModule({0x07230203, 0x00010300, 0, 1, 0, 0x00010038, 0x00010000}); // in the midst of a function
  EXPECT_EQ(refusal("opencl"), expected);
}

TEST_F(OpenClDeviceTest, MemoryThatIsFreeButNotInOnePiece) {
  ::setenv("QUERN_FAKE_OPENCL_LARGEST", "2000", 1);
  auto model = open("opencl");
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().status, QUERN_OUT_OF_MEMORY);
  EXPECT_THAT(model.error().message,
              HasSubstr(" are refused in one piece, though 4.0 GiB are free; use another device"));
}

/// What drivers call "out of resources" is no lack of memory here.
TEST_F(OpenClDeviceTest, AKernelThatFaultsIsNamedAndTheProcessorStillWorks) {
  ::setenv("QUERN_FAKE_OPENCL_FAULT", "1", 1);
  auto model = open("opencl");
  ASSERT_TRUE(model) << model.error().message;
  auto session = model->session(64);
  ASSERT_TRUE(session) << session.error().message;
  auto done = session->decode(1);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().status, QUERN_DEVICE_FAILED);
  EXPECT_EQ(done.error().message,
            "opencl:0: the work given to the device failed: CL_OUT_OF_RESOURCES (-5) in test.store_one (kernel "
            "store_one); the device cannot be used by this process any more; use the processor (--device cpu)");
  EXPECT_EQ(session->position(), 0);
  EXPECT_THAT(session->decode(1).error().message,
              testing::StartsWith("the device stopped working earlier: opencl:0: "));
  auto processor = open("cpu");
  ASSERT_TRUE(processor) << processor.error().message;
  auto other = processor->session(64);
  EXPECT_TRUE(other->decode(1));
}

} // namespace
