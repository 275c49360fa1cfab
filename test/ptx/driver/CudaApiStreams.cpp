// The driver's functions for what happens in time: streams, graphs, events, asynchronous copies, pinned memory.
#include "test/ptx/driver/Calls.h"

using namespace quern::ptx;

CUresult cuMemAllocHost_v2(void **pointer, size_t bytes) {
  return inContext([&](Device &device) { return device.allocateHost(bytes, *pointer); });
}

CUresult cuMemFreeHost(void *pointer) {
  return inContext([&](Device &device) { return device.freeHost(pointer); });
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return inContext(
      [&](Device &device) { return device.copyLater(stream, to, const_cast<void *>(from), bytes, /*toDevice=*/true); });
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return inContext([&](Device &device) { return device.copyLater(stream, from, to, bytes, /*toDevice=*/false); });
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream) {
  return inContext([&](Device &device) { return device.setLater(stream, to, value, bytes); });
}

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  return inContext([&](Device &device) {
    return flags > unsigned(kStreamNonBlocking) ? kInvalidValue : device.createStream(flags, *stream);
  });
}

CUresult cuStreamDestroy_v2(CUstream stream) {
  return inContext([&](Device &device) { return device.destroyStream(stream); });
}

CUresult cuStreamSynchronize(CUstream stream) {
  return inContext([&](Device &device) { return device.synchronize(stream); });
}

CUresult cuLaunchKernel(CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                        unsigned blockY, unsigned blockZ, unsigned sharedBytes, CUstream stream, void **parameters,
                        void **extra) {
  return inContext([&](Device &device) {
    if (extra)
      return kNotSupported;
    return device.launch(function, {{gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes}, stream, parameters);
  });
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra) {
  return inContext([&](Device &device) {
    if (extra)
      return kNotSupported;
    bool overlaps = false;
    for (unsigned i = 0; i < config->attributeCount; ++i) {
      if (config->attributes[i].id != kStreamSerialization)
        return kNotSupported;
      overlaps |= config->attributes[i].value != 0;
    }
    LaunchShape shape{{config->gridX, config->gridY, config->gridZ},
                      {config->blockX, config->blockY, config->blockZ},
                      config->sharedBytes};
    return device.launch(function, shape, config->stream, parameters, overlaps);
  });
}

CUresult cuStreamBeginCapture_v2(CUstream stream, int mode) {
  return inContext([&](Device &device) { return mode < 0 || mode > 2 ? kInvalidValue : device.beginCapture(stream); });
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  return inContext([&](Device &device) { return device.endCapture(stream, *graph); });
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *made, CUgraph graph, unsigned long long flags) {
  return inContext([&](Device &device) { return flags ? kInvalidValue : device.instantiate(graph, *made); });
}

CUresult cuGraphDestroy(CUgraph graph) {
  return inContext([&](Device &device) { return device.graphs.erase(graph) ? kSuccess : kInvalidHandle; });
}

CUresult cuGraphExecDestroy(CUgraphExec graph) {
  return inContext([&](Device &device) { return device.executables.erase(graph) ? kSuccess : kInvalidHandle; });
}

CUresult cuGraphLaunch(CUgraphExec graph, CUstream stream) {
  return inContext([&](Device &device) { return device.launch(graph, stream); });
}

CUresult cuEventCreate(CUevent *event, unsigned flags) {
  return inContext([&](Device &device) {
    if (flags)
      return kInvalidValue;
    auto made = std::make_unique<FakeEvent>();
    *event = made.get();
    device.events.emplace(*event, std::move(made));
    return kSuccess;
  });
}

CUresult cuEventDestroy_v2(CUevent event) {
  return inContext([&](Device &device) { return device.events.erase(event) ? kSuccess : kInvalidHandle; });
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
  return inContext([&](Device &device) { return device.record(event, stream); });
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent begin, CUevent end) {
  return inContext([&](Device &device) {
    auto first = device.events.find(begin), last = device.events.find(end);
    if (first == device.events.end() || last == device.events.end())
      return kInvalidHandle;
    if (!first->second->recorded || !last->second->recorded)
      return kNotReady;
    *milliseconds = float(double(last->second->time - first->second->time) * 1e-6);
    return kSuccess;
  });
}
