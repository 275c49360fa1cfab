#include "CudaDriver.h"

#include <dlfcn.h>

namespace quern::runtime::cuda {

static std::string versionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

static std::string tooOld(const std::string &why) {
  return "NVIDIA's driver is too old: " + why + "; CUDA " + versionText(kLeastVersion) +
         " (driver 525) or later is needed";
}

std::string Driver::load() {
  constexpr const char *kLibrary = "libcuda.so.1";
  void *library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *why = ::dlerror();
    return "there is no NVIDIA driver (" + std::string(why ? why : kLibrary) + ")";
  }
#define QUERN_CUDA_LOOK_UP(name, ...)                                                                                  \
  name = reinterpret_cast<Result (*)(__VA_ARGS__)>(::dlsym(library, #name));                                           \
  if (!name)                                                                                                           \
    return tooOld("it has no function " #name);
  QUERN_CUDA_FUNCTIONS(QUERN_CUDA_LOOK_UP)
#undef QUERN_CUDA_LOOK_UP
  return "";
}

Outcome<const Driver *> Driver::open() {
  // Never closed: the library keeps threads and state of its own.
  static Driver driver;
  static const std::string broken = driver.load();
  if (!broken.empty())
    return fault(QUERN_UNSUPPORTED, broken);
  int version = 0;
  Result result = driver.cuDriverGetVersion(&version);
  if (result == kSuccess && version < kLeastVersion)
    return fault(QUERN_UNSUPPORTED, tooOld("it is for CUDA " + versionText(version)));
  if (result == kSuccess)
    result = driver.cuInit(0);
  switch (result) {
  case kSuccess:
    return &driver;
  case kNoDevice:
    return fault(QUERN_UNSUPPORTED, "NVIDIA's driver finds no device");
  case kStubLibrary:
    return fault(QUERN_UNSUPPORTED, "libcuda.so.1 is the stub that a CUDA toolkit links against, not NVIDIA's driver; "
                                    "take its folder out of LD_LIBRARY_PATH");
  default:
    return fault(QUERN_UNSUPPORTED, "NVIDIA's driver does not start: " + driver.describe(result));
  }
}

std::string Driver::describe(Result result) const {
  const char *text = nullptr;
  bool known = cuGetErrorString(result, &text) == kSuccess && text;
  return std::string(known ? text : "unknown error") + " (error " + std::to_string(result) + ")";
}

} // namespace quern::runtime::cuda
