// The one device of the fake driver: an A100's limits, memory that is the host's, kernels run by the executor.
//
// Launches and asynchronous copies wait in their stream until something has to wait for them, as they may on a GPU: a
// host that reads results too early reads old ones, and one that changes what is being copied copies the new. A kernel
// that fails breaks the context, as the driver does: every later call returns the failure until the context is
// released.
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

/// What the device is to do, when its turn comes.
using FakeOperation = std::function<CUresult()>;

struct FakeGraph {
  std::vector<FakeOperation> operations;
};
struct FakeGraphExec : FakeGraph {};

struct FakeStream {
  bool nonBlocking = false;
  std::deque<FakeOperation> waiting;
  std::unique_ptr<FakeGraph> capture; ///< takes the operations, while the stream is captured
};

/// Time is the number of instructions that the device has executed, a nanosecond each.
struct FakeEvent {
  uint64_t time = 0;
  bool recorded = false;
};

namespace quern::ptx {

inline constexpr int kSharedPerBlock = 48 << 10; ///< bytes, without asking for more

/// What the environment says about the device, read by cuInit; the names are QUERN_FAKE_CUDA_ and what stands here.
struct DeviceSettings {
  uint32_t seed = 1;                    ///< SEED: order of blocks and threads
  size_t memoryBytes = size_t(1) << 30; ///< MEMORY
  int capability = 80;                  ///< CAPABILITY
  int version = 12000;                  ///< VERSION: of the driver, 1000 * major + 10 * minor; 0: a stub
  int devices = 1;                      ///< DEVICES: 0 or 1
  int graphs = 1;                       ///< GRAPHS: 0: capturing a stream is not supported
  uint64_t failLaunch = 0;              ///< FAIL_LAUNCH: number of the launch, from 1 on, that fails; 0: none
  uint64_t failAllocation = 0;          ///< FAIL_ALLOCATION: the same of allocations

  static DeviceSettings fromEnvironment();
};

/// All functions are called with `mutex` held.
class Device {
public:
  static Device &get();

  CUresult retain();
  CUresult release();
  int mostShared() const;
  CUresult attribute(int attribute, int &value) const;

  CUresult load(const char *image, CUmodule &module, std::string &log);
  CUresult unload(CUmodule module);
  CUresult function(CUmodule module, const char *name, CUfunction &function);
  CUresult allowShared(CUfunction function, int bytes);

  CUresult allocate(size_t bytes, CUdeviceptr &pointer);
  CUresult free(CUdeviceptr pointer);
  CUresult copy(CUdeviceptr device, size_t bytes, const std::function<void(std::byte *)> &move);
  size_t freeBytes() const { return settings.memoryBytes - usedBytes; }
  CUresult allocateHost(size_t bytes, void *&pointer);
  CUresult freeHost(void *pointer);
  /// As `copy`, in a stream. Of host memory that is not pinned, `host`, the copy has been made when this returns.
  CUresult copyLater(CUstream stream, CUdeviceptr device, void *host, size_t bytes, bool toDevice);
  CUresult setLater(CUstream stream, CUdeviceptr device, unsigned char value, size_t bytes);

  CUresult createStream(bool nonBlocking, CUstream &stream);
  CUresult destroyStream(CUstream stream);
  CUresult launch(CUfunction function, const LaunchShape &shape, CUstream stream, void **parameters,
                  bool overlaps = false);
  CUresult beginCapture(CUstream stream);
  CUresult endCapture(CUstream stream, CUgraph &graph);
  CUresult instantiate(CUgraph graph, CUgraphExec &made);
  CUresult launch(CUgraphExec graph, CUstream stream);
  CUresult record(CUevent event, CUstream stream);
  /// Runs what waits in a stream; null is the default stream, which waits for all others that are not non-blocking.
  CUresult synchronize(CUstream stream);

  std::mutex mutex;
  bool initialized = false;
  DeviceSettings settings;
  FakeContext context;
  uint32_t retained = 0;
  CUresult broken = kSuccess; ///< what a failed kernel left behind
  std::string fault;
  size_t graphLaunches = 0;
  std::map<CUevent, std::unique_ptr<FakeEvent>> events;
  std::map<CUgraph, std::unique_ptr<FakeGraph>> graphs;
  std::map<CUgraphExec, std::unique_ptr<FakeGraphExec>> executables;
  size_t live(std::string_view kind) const;
  /// How often things of a kind have been asked for since cuInit.
  size_t calls(std::string_view kind) const;
  /// As cuInit does it.
  CUresult start();

private:
  /// Into the stream, or into the graph that is being captured there.
  CUresult enqueue(CUstream stream, FakeOperation operation);
  CUresult run(const FakeFunction &function, const LaunchShape &shape, std::span<const std::byte> parameters,
               bool overlaps);
  bool isPinned(const void *pointer, size_t bytes) const;
  CUresult drain(FakeStream &stream);
  /// Before anything that a waiting launch may use is gone.
  CUresult drainAll();
  bool owns(CUfunction function) const;
  FakeStream *find(CUstream stream);

  GlobalMemory memory;
  std::map<CUdeviceptr, size_t> sizes;
  std::map<std::byte *, std::pair<size_t, std::unique_ptr<std::byte[]>>> pinned;
  size_t usedBytes = 0;
  uint64_t launches = 0, allocations = 0, pinnings = 0, moduleLoads = 0, instructions = 0; ///< since cuInit
  uint64_t overlapping = 0; ///< the same, launches that may start early
  uint64_t bytesRead = 0;   ///< the same, of the device's memory
  std::map<CUmodule, std::unique_ptr<FakeModule>> modules;
  FakeStream defaultStream;
  std::map<CUstream, std::unique_ptr<FakeStream>> streams;
};

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_DRIVER_DEVICE_H
