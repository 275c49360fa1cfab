// The whole contract between generated code and the runtime: plain C, versioned, shared by the compiler (which
// checks the offsets below when it emits code) and the runtime.
//
// A package's code is one position-independent image without relocations or undefined symbols. Each entry point is a
// function of one argument, `void entry(const QuernCall *)`. All threads of the pool call the same entry with the same
// call but for `thread`; the code splits the work by `thread` and `threads` and meets in `barrier` where data crosses
// threads.
#ifndef QUERN_RUNTIME_KERNELABI_H
#define QUERN_RUNTIME_KERNELABI_H

#include <stddef.h>
#include <stdint.h>

#define QUERN_KERNEL_ABI_VERSION 3u
/// Fields are only ever appended to QuernCall, so a runtime runs code of its own and of every earlier version from here.
#define QUERN_KERNEL_ABI_OLDEST 1u

/// An output of a graph, told by its code.
typedef struct QuernResult {
  const void *data; ///< row-major; in the call's memory, an input, or the weights
  int64_t *shape;   ///< the runtime's, room for the output's rank
} QuernResult;

/// One call of one entry by one thread. All pointers are owned by the caller and outlive the call.
typedef struct QuernCall {
  uint32_t abiVersion; ///< QUERN_KERNEL_ABI_VERSION
  uint32_t flags;      ///< reserved, zero
  int64_t thread;      ///< index of the calling thread, 0 <= thread < threads
  int64_t threads;     ///< number of threads that make this call together
  const uint8_t *weights; ///< the mapped weights section, 64-byte aligned
  /// Working memory, 64-byte aligned: `constant` bytes, then for each dynamic size s in the manifest's order
  /// `arena[s] * capacities[s]` bytes, then `perThread` bytes for each thread.
  uint8_t *arena;
  void *const *buffers; ///< one pointer per named input, then per named output, in the manifest's order
  const int64_t *sizes; ///< value of each dynamic size in this call, in the manifest's order
  const int64_t *capacities; ///< largest value of each dynamic size the arena was laid out for
  void (*barrier)(void *context); ///< returns when all threads of the call have entered it; orders memory
  void *barrierContext;
  /// Version 2. Called by the entry "step_profiled" on every thread after kernel call number `op`, when all threads have
  /// finished it. Other entries never call it.
  void (*mark)(const struct QuernCall *call, int64_t op);
  void *markContext; ///< for `mark`
  /// Version 3, for the entry "graph", which one thread calls. Memory aligned to 64 bytes, which lives until it is
  /// released or the results have been read; never null.
  void *(*allocate)(void *context, int64_t bytes);
  void (*release)(void *context, void *memory);
  /// Ends the call with an error; does not return.
  void (*fail)(void *context, const char *message);
  void *graphContext;   ///< for these three
  QuernResult *results; ///< one for each output, in the manifest's order
} QuernCall;

typedef void (*QuernEntry)(const QuernCall *call);

// Offsets that the compiler bakes into the image.
#define QUERN_CALL_THREAD 8
#define QUERN_CALL_THREADS 16
#define QUERN_CALL_WEIGHTS 24
#define QUERN_CALL_ARENA 32
#define QUERN_CALL_BUFFERS 40
#define QUERN_CALL_SIZES 48
#define QUERN_CALL_CAPACITIES 56
#define QUERN_CALL_BARRIER 64
#define QUERN_CALL_BARRIER_CONTEXT 72
#define QUERN_CALL_MARK 80
#define QUERN_CALL_ALLOCATE 96
#define QUERN_CALL_RELEASE 104
#define QUERN_CALL_FAIL 112
#define QUERN_CALL_GRAPH_CONTEXT 120
#define QUERN_CALL_RESULTS 128

#ifdef __cplusplus
static_assert(offsetof(QuernCall, thread) == QUERN_CALL_THREAD);
static_assert(offsetof(QuernCall, threads) == QUERN_CALL_THREADS);
static_assert(offsetof(QuernCall, weights) == QUERN_CALL_WEIGHTS);
static_assert(offsetof(QuernCall, arena) == QUERN_CALL_ARENA);
static_assert(offsetof(QuernCall, buffers) == QUERN_CALL_BUFFERS);
static_assert(offsetof(QuernCall, sizes) == QUERN_CALL_SIZES);
static_assert(offsetof(QuernCall, capacities) == QUERN_CALL_CAPACITIES);
static_assert(offsetof(QuernCall, barrier) == QUERN_CALL_BARRIER);
static_assert(offsetof(QuernCall, barrierContext) == QUERN_CALL_BARRIER_CONTEXT);
static_assert(offsetof(QuernCall, mark) == QUERN_CALL_MARK);
static_assert(offsetof(QuernCall, allocate) == QUERN_CALL_ALLOCATE);
static_assert(offsetof(QuernCall, release) == QUERN_CALL_RELEASE);
static_assert(offsetof(QuernCall, fail) == QUERN_CALL_FAIL);
static_assert(offsetof(QuernCall, graphContext) == QUERN_CALL_GRAPH_CONTEXT);
static_assert(offsetof(QuernCall, results) == QUERN_CALL_RESULTS);
static_assert(sizeof(QuernCall) == 136);
#endif

#endif // QUERN_RUNTIME_KERNELABI_H
