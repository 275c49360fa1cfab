// What tests of models on a device share: a package, the fake driver's environment, and what lives in it.
#ifndef QUERN_TEST_DEVICEFIXTURE_H
#define QUERN_TEST_DEVICEFIXTURE_H

#include "FakeDevicePackage.h"
#include "quern/quern.hpp"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace quern::test {

inline constexpr char kNothing[] = "0 allocations, 0 pinned, 0 streams, 0 modules, 0 events, 0 graphs, 0 contexts";

class DeviceTest : public testing::Test {
protected:
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() / ("quern-device-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    path = (folder / "model.quern").string();
    package.write(path);
  }
  void TearDown() override {
    for (const std::string &name : changed)
      ::unsetenv(name.c_str());
    std::filesystem::remove_all(folder);
  }

  /// A setting of the fake driver, from the next opening on.
  void set(const std::string &name, const std::string &value) {
    changed.push_back("QUERN_FAKE_CUDA_" + name);
    ::setenv(changed.back().c_str(), value.c_str(), 1);
  }
  api::Expected<api::Model> open(const char *device, const std::function<void(api::ModelOptions &)> &change = {}) {
    api::ModelOptions options = api::modelOptions();
    options.threads = 1;
    options.device = device;
    if (change)
      change(options);
    return api::Model::open(path, options);
  }
  std::string refusal(const char *device, const std::function<void(api::ModelOptions &)> &change = {}) {
    auto model = open(device, change);
    return model ? "" : model.error().message;
  }

  template <typename Function> static Function *ofDriver(const char *name) {
    static void *library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    void *found = library ? ::dlsym(library, name) : nullptr;
    EXPECT_NE(found, nullptr) << name << " is not in the driver; the fake one should be found first";
    return reinterpret_cast<Function *>(found);
  }
  /// How many things of each kind there are in the fake driver.
  static std::string living() {
    std::string out;
    for (const char *kind : {"allocations", "pinned", "streams", "modules", "events", "graphs", "contexts"})
      out += (out.empty() ? "" : ", ") + std::to_string(ofDriver<size_t(const char *)>("quernFakeCudaLive")(kind)) +
             " " + kind;
    return out;
  }
  /// How often the fake driver was asked for things of a kind: "allocations", "pinned", "modules", "graphs",
  /// "overlapping launches"; and "bytes read" of its memory.
  static size_t callsFor(const char *kind) { return ofDriver<size_t(const char *)>("quernFakeCudaCalls")(kind); }

  std::filesystem::path folder;
  std::string path;
  FakeDevicePackage package;

private:
  std::vector<std::string> changed;
};

} // namespace quern::test

#endif // QUERN_TEST_DEVICEFIXTURE_H
