// What the device does in time: streams, graphs of captured operations, events, asynchronous copies.
#include "test/ptx/driver/Device.h"

#include <algorithm>
#include <cstring>

namespace quern::ptx {

CUresult Device::createStream(bool nonBlocking, CUstream &stream) {
  auto made = std::make_unique<FakeStream>();
  made->nonBlocking = nonBlocking;
  stream = made.get();
  streams.emplace(stream, std::move(made));
  return kSuccess;
}

FakeStream *Device::find(CUstream stream) {
  if (!stream)
    return &defaultStream;
  auto found = streams.find(stream);
  return found == streams.end() ? nullptr : found->second.get();
}

CUresult Device::destroyStream(CUstream stream) {
  if (!stream || !find(stream))
    return kInvalidHandle;
  CUresult result = synchronize(stream);
  streams.erase(stream);
  return result;
}

CUresult Device::enqueue(CUstream stream, FakeOperation operation) {
  FakeStream *queue = find(stream);
  if (!queue)
    return kInvalidHandle;
  if (queue->capture)
    queue->capture->operations.push_back(std::move(operation));
  else
    queue->waiting.push_back(std::move(operation));
  return kSuccess;
}

CUresult Device::launch(CUfunction function, const LaunchShape &shape, CUstream stream, void **parameters,
                        bool overlaps) {
  if (!find(stream) || !owns(function))
    return kInvalidHandle;
  constexpr int kLeastCapability = 90, kLeastVersionOfCapture = 12030;
  if (overlaps &&
      (settings.capability < kLeastCapability || (find(stream)->capture && settings.version < kLeastVersionOfCapture)))
    return kNotSupported;
  overlapping += overlaps;
  const Kernel &kernel = *function->kernel;
  uint32_t allowed = std::max(function->dynamicShared, uint32_t(kSharedPerBlock) - kernel.declaredSharedBytes);
  if (shape.dynamicSharedBytes > allowed || (!parameters && kernel.parameterBytes))
    return kInvalidValue;
  if (auto fine = checkLaunch(kernel, shape); !fine) {
    fault = fine.error().message;
    return kInvalidValue;
  }
  std::vector<std::byte> bytes(kernel.parameterBytes);
  for (size_t i = 0; i < kernel.parameters.size(); ++i)
    std::memcpy(bytes.data() + kernel.parameters[i].address, parameters[i], kernel.parameters[i].bytes);
  if (!stream) // the default stream waits for the others
    if (CUresult result = synchronize(nullptr))
      return result;
  return enqueue(stream, [this, function, shape, bytes = std::move(bytes), overlaps] {
    return run(*function, shape, bytes, overlaps);
  });
}

CUresult Device::run(const FakeFunction &function, const LaunchShape &shape, std::span<const std::byte> parameters,
                     bool overlaps) {
  LaunchOptions options;
  options.overlaps = overlaps;
  options.seed = settings.seed;
  auto counts = ptx::launch(*function.kernel, memory, shape, parameters, options);
  bool fails = ++launches == settings.failLaunch;
  if (!counts || fails)
    fault = fails ? "launch " + std::to_string(launches) + " was to fail" : counts.error().message;
  else
    instructions += counts->instructions;
  return !counts || fails ? kLaunchFailed : kSuccess;
}

CUresult Device::copyLater(CUstream stream, CUdeviceptr device, void *host, size_t bytes, bool toDevice) {
  std::byte *place = memory.find(device, bytes);
  FakeStream *queue = find(stream);
  if (!queue || !place)
    return queue ? kInvalidValue : kInvalidHandle;
  auto move = [this, device, host, bytes, toDevice] {
    std::byte *place = memory.find(device, bytes);
    bytesRead += toDevice ? 0 : bytes;
    if (place)
      std::memcpy(toDevice ? place : host, toDevice ? host : place, bytes);
    return place ? kSuccess : kInvalidValue;
  };
  if (isPinned(host, bytes))
    return enqueue(stream, move);
  if (queue->capture)
    return kUnsupportedInCapture;
  if (CUresult result = synchronize(stream))
    return result;
  return move();
}

CUresult Device::setLater(CUstream stream, CUdeviceptr device, unsigned char value, size_t bytes) {
  if (!memory.find(device, bytes))
    return kInvalidValue;
  return enqueue(stream, [this, device, value, bytes] {
    std::byte *place = memory.find(device, bytes);
    if (place)
      std::memset(place, value, bytes);
    return place ? kSuccess : kInvalidValue;
  });
}

CUresult Device::beginCapture(CUstream stream) {
  FakeStream *queue = find(stream);
  if (!queue || queue->capture)
    return queue ? kInvalidValue : kInvalidHandle;
  if (!stream || settings.graphs == 0)
    return stream ? kNotSupported : kUnsupportedInCapture;
  queue->capture = std::make_unique<FakeGraph>();
  return kSuccess;
}

CUresult Device::endCapture(CUstream stream, CUgraph &graph) {
  FakeStream *queue = find(stream);
  if (!queue || !queue->capture)
    return queue ? kInvalidValue : kInvalidHandle;
  graph = queue->capture.get();
  graphs.emplace(graph, std::move(queue->capture));
  return kSuccess;
}

CUresult Device::instantiate(CUgraph graph, CUgraphExec &made) {
  auto found = graphs.find(graph);
  if (found == graphs.end())
    return kInvalidHandle;
  auto copy = std::make_unique<FakeGraphExec>();
  copy->operations = found->second->operations;
  made = copy.get();
  executables.emplace(made, std::move(copy));
  return kSuccess;
}

CUresult Device::launch(CUgraphExec graph, CUstream stream) {
  auto found = executables.find(graph);
  if (found == executables.end())
    return kInvalidHandle;
  ++graphLaunches;
  for (const FakeOperation &operation : found->second->operations)
    if (CUresult result = enqueue(stream, operation))
      return result;
  return kSuccess;
}

CUresult Device::record(CUevent event, CUstream stream) {
  if (!events.count(event))
    return kInvalidHandle;
  return enqueue(stream, [this, event] {
    if (auto found = events.find(event); found != events.end())
      *found->second = {instructions, true};
    return kSuccess;
  });
}

CUresult Device::drain(FakeStream &stream) {
  while (!stream.waiting.empty() && !broken) {
    FakeOperation operation = std::move(stream.waiting.front());
    stream.waiting.pop_front();
    broken = operation();
  }
  return broken;
}

CUresult Device::drainAll() {
  if (CUresult result = synchronize(nullptr))
    return result;
  for (auto &entry : streams)
    if (CUresult result = drain(*entry.second))
      return result;
  return kSuccess;
}

CUresult Device::synchronize(CUstream stream) {
  FakeStream *found = find(stream);
  if (!found || found->capture)
    return found ? kUnsupportedInCapture : kInvalidHandle;
  if (!stream || !found->nonBlocking) // blocking streams and the default one wait for each other
    if (CUresult result = drain(defaultStream))
      return result;
  if (!stream)
    for (auto &entry : streams)
      if (!entry.second->nonBlocking)
        if (CUresult result = drain(*entry.second))
          return result;
  return drain(*found);
}

} // namespace quern::ptx
