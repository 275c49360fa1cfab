// Runs the entries of a package's code on all threads, with the working memory it asks for. Knows named tensors and
// dynamic sizes, and nothing of language models.
#ifndef QUERN_LIB_RUNTIME_PROGRAM_H
#define QUERN_LIB_RUNTIME_PROGRAM_H

#include "Cpu.h"
#include "Fault.h"
#include "Memory.h"
#include "Profile.h"
#include "ThreadPool.h"
#include "quern/Runtime/KernelABI.h"
#include "quern/Runtime/Manifest.h"
#include "quern/Runtime/PackageReader.h"

#include <span>
#include <string>
#include <vector>

namespace quern::runtime {

/// A code section, mapped for execution.
class CodeImage {
public:
  CodeImage() = default;
  /// Checks that every entry lies inside the section.
  static Outcome<CodeImage> map(const package::PackageReader &reader, const Manifest::Code &code);
  CodeImage(CodeImage &&other) noexcept
      : start(std::exchange(other.start, nullptr)), length(std::exchange(other.length, 0)) {}
  CodeImage &operator=(CodeImage &&other) noexcept {
    std::swap(start, other.start);
    std::swap(length, other.length);
    return *this;
  }
  ~CodeImage();
  QuernEntry entry(int64_t offset) const { return reinterpret_cast<QuernEntry>(start + offset); }

private:
  uint8_t *start = nullptr;
  uint64_t length = 0;
};

/// The code version to run: the one named `target`, or for "" and "auto" the first whose features are all there.
/// Fails naming the missing features.
Outcome<const Manifest::Code *> chooseCode(const Manifest &manifest, const CpuFeatures &cpu, const std::string &target,
                                           const std::string &source);

class Program {
public:
  /// The manifest must outlive the program.
  Program(const Manifest &manifest, const uint8_t *weights, int threads)
      : manifest(manifest), weights(weights), pool(threads) {}

  int threads() const { return pool.threads(); }
  /// Grows the working memory so that each dynamic size may be as large as `wanted` says, in the manifest's order.
  Outcome<void> reserve(std::span<const int64_t> wanted);
  int64_t capacity(size_t size) const { return capacities[size]; }
  /// One pointer for each input and output, one value for each dynamic size, at most the reserved one.
  /// `profile`: for an entry that calls the mark function.
  void run(QuernEntry entry, std::span<void *const> buffers, std::span<const int64_t> sizes,
           Profile *profile = nullptr);
  ThreadPool &threadPool() { return pool; }

private:
  const Manifest &manifest;
  const uint8_t *weights;
  ThreadPool pool;
  Memory arena;
  std::vector<int64_t> capacities;
};

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_PROGRAM_H
