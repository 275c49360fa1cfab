// What a graph's code asks of the runtime while it runs: memory, and an end when something is wrong.
#ifndef QUERN_LIB_RUNTIME_GRAPHCALL_H
#define QUERN_LIB_RUNTIME_GRAPHCALL_H

#include "Fault.h"
#include "quern/Runtime/KernelABI.h"

#include <csetjmp>
#include <set>
#include <string>

namespace quern::runtime {

/// The memory and the fate of one call.
class GraphCall {
public:
  GraphCall() = default;
  GraphCall(const GraphCall &) = delete;
  GraphCall &operator=(const GraphCall &) = delete;
  ~GraphCall();

  /// Runs the entry on this thread. Code that fails is left by a long jump: compiled code has no destructors, and
  /// nothing else is between.
  Outcome<void> run(QuernEntry entry, QuernCall &call);

private:
  static void *allocate(void *context, int64_t bytes);
  static void release(void *context, void *memory);
  [[noreturn]] static void fail(void *context, const char *message);

  std::set<void *> blocks; ///< not released yet
  std::jmp_buf end;
  quern_status status = QUERN_OK;
  std::string message;
};

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_GRAPHCALL_H
