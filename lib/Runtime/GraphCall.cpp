#include "GraphCall.h"

#include <cstdlib>

namespace quern::runtime {

constexpr size_t kAlignment = 64;

GraphCall::~GraphCall() {
  for (void *block : blocks)
    std::free(block);
}

Outcome<void> GraphCall::run(QuernEntry entry, QuernCall &call) {
  call.allocate = allocate;
  call.release = release;
  call.fail = fail;
  call.graphContext = this;
  if (setjmp(end) == 0)
    entry(&call);
  if (status != QUERN_OK)
    return fault(status, std::move(message));
  return {};
}

/// The sizes come from the caller's shapes and data, so anything may be asked for.
void *GraphCall::allocate(void *context, int64_t bytes) {
  auto *self = static_cast<GraphCall *>(context);
  constexpr int64_t kMost = int64_t(1) << 46;
  void *memory = nullptr;
  if (bytes >= 0 && bytes < kMost)
    memory = std::aligned_alloc(kAlignment, (size_t(bytes) / kAlignment + 1) * kAlignment);
  if (!memory) {
    self->status = QUERN_OUT_OF_MEMORY;
    self->message =
        "the graph needs " + std::to_string(bytes) + " bytes for one tensor, which the system does not have";
    std::longjmp(self->end, 1);
  }
  self->blocks.insert(memory);
  return memory;
}

void GraphCall::release(void *context, void *memory) {
  auto *self = static_cast<GraphCall *>(context);
  if (self->blocks.erase(memory) > 0)
    std::free(memory);
}

void GraphCall::fail(void *context, const char *message) {
  auto *self = static_cast<GraphCall *>(context);
  self->status = QUERN_INVALID_ARGUMENT;
  self->message = message;
  std::longjmp(self->end, 1);
}

} // namespace quern::runtime
