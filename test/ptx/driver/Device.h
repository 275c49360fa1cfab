// The one device of the fake driver: an A100's limits, memory that is the host's, kernels run by the executor.
//
// Launches wait in their stream until something has to wait for them, as they may on a GPU: a host that reads results
// too early reads old ones. A kernel that fails breaks the context, as the driver does: every later call returns the
// failure until the context is released.
#ifndef QUERN_TEST_PTX_DRIVER_DEVICE_H
#define QUERN_TEST_PTX_DRIVER_DEVICE_H

#include "test/ptx/Executor.h"
#include "test/ptx/driver/CudaApi.h"

#include <deque>
#include <functional>
#include <memory>
#include <mutex>

struct FakeContext {};

struct FakeFunction {
  const quern::ptx::Kernel *kernel;
  uint32_t dynamicShared = 0; ///< how much the host has asked to be allowed
};

struct FakeModule {
  quern::ptx::Module module;
  std::vector<std::unique_ptr<FakeFunction>> functions;
};

struct FakeStream {
  struct Launch {
    const FakeFunction *function;
    quern::ptx::LaunchShape shape;
    std::vector<std::byte> parameters;
  };
  bool nonBlocking = false;
  std::deque<Launch> waiting;
};

namespace quern::ptx {

/// What the environment says about the device, read by cuInit: QUERN_FAKE_CUDA_SEED (order of blocks and threads, 1),
/// QUERN_FAKE_CUDA_MEMORY (bytes, 1 GiB) and QUERN_FAKE_CUDA_CAPABILITY (80).
struct DeviceSettings {
  uint32_t seed = 1;
  size_t memoryBytes = size_t(1) << 30;
  int capability = 80;

  static DeviceSettings fromEnvironment();
};

/// All functions are called with `mutex` held.
class Device {
public:
  static Device &get();

  CUresult retain();
  CUresult release();
  CUresult attribute(int attribute, int &value) const;

  CUresult load(const char *image, CUmodule &module, std::string &log);
  CUresult unload(CUmodule module);
  CUresult function(CUmodule module, const char *name, CUfunction &function);
  CUresult allowShared(CUfunction function, int bytes);

  CUresult allocate(size_t bytes, CUdeviceptr &pointer);
  CUresult free(CUdeviceptr pointer);
  CUresult copy(CUdeviceptr device, size_t bytes, const std::function<void(std::byte *)> &move);
  size_t freeBytes() const { return settings.memoryBytes - usedBytes; }

  CUresult createStream(bool nonBlocking, CUstream &stream);
  CUresult destroyStream(CUstream stream);
  CUresult launch(CUfunction function, const LaunchShape &shape, CUstream stream, void **parameters);
  /// Runs what waits in a stream; null is the default stream, which waits for all others that are not non-blocking.
  CUresult synchronize(CUstream stream);

  std::mutex mutex;
  bool initialized = false;
  DeviceSettings settings;
  FakeContext context;
  uint32_t retained = 0;
  CUresult broken = kSuccess; ///< what a failed kernel left behind
  std::string fault;

private:
  CUresult drain(FakeStream &stream);
  /// Before anything that a waiting launch may use is gone.
  CUresult drainAll();
  bool owns(CUfunction function) const;
  FakeStream *find(CUstream stream);

  GlobalMemory memory;
  std::map<CUdeviceptr, size_t> sizes;
  size_t usedBytes = 0;
  std::map<CUmodule, std::unique_ptr<FakeModule>> modules;
  FakeStream defaultStream;
  std::map<CUstream, std::unique_ptr<FakeStream>> streams;
};

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_DRIVER_DEVICE_H
