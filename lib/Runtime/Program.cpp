#include "Program.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>

namespace quern::runtime {

Outcome<CodeImage> CodeImage::map(const package::PackageReader &reader, const Manifest::Code &code) {
  auto found = reader.require(code.section);
  if (!found)
    return tl::unexpected<Fault>(Fault(found.error()));
  const package::Section &section = **found;
  for (const auto &[name, offset] : code.entries)
    if (uint64_t(offset) >= section.bytes.size())
      return fault(QUERN_BAD_PACKAGE, reader.path() + ": entry '" + name + "' of target '" + code.target +
                                          "' lies outside its section; the package is damaged");
  CodeImage image;
  if (section.bytes.empty())
    return image;
  void *mapped = ::mmap(nullptr, section.bytes.size(), PROT_READ | PROT_EXEC, MAP_PRIVATE, reader.descriptor(),
                        off_t(section.offset));
  if (mapped == MAP_FAILED)
    return fault(QUERN_IO_ERROR, reader.path() + ": the code for '" + code.target +
                                     "' cannot be mapped for execution: " + std::strerror(errno) +
                                     " (is the file system mounted noexec?)");
  image.start = static_cast<uint8_t *>(mapped);
  image.length = section.bytes.size();
  return image;
}

CodeImage::~CodeImage() {
  if (start)
    ::munmap(start, length);
}

static std::string join(const std::vector<std::string> &names) {
  std::string out;
  for (const std::string &name : names)
    out += (out.empty() ? "" : ", ") + name;
  return out;
}

Outcome<const Manifest::Code *> chooseCode(const Manifest &manifest, const CpuFeatures &cpu, const std::string &target,
                                           const std::string &source) {
  bool any = target.empty() || target == "auto";
  std::vector<std::string> reasons, known;
  for (const Manifest::Code &code : manifest.code) {
    known.push_back(code.target);
    if (!any && code.target != target)
      continue;
    std::vector<std::string> missing = cpu.missing(code.features);
    if (missing.empty())
      return &code;
    reasons.push_back(code.target + " lacks " + join(missing));
  }
  if (!any && reasons.empty())
    return fault(QUERN_UNSUPPORTED, source + ": has no code for '" + target + "'; it has " +
                                        (known.empty() ? "none" : join(known)));
  std::string why;
  for (const std::string &reason : reasons)
    why += "; " + reason;
  return fault(QUERN_UNSUPPORTED, source + ": this processor can run none of the package's code" + why +
                                      "; compile the model for an older target");
}

/// Adds `count` times `bytes` to `sum`; false if that is beyond what the manifest's limits
/// can ask for on any machine.
static bool addBytes(uint64_t &sum, uint64_t count, uint64_t bytes) {
  uint64_t product;
  constexpr uint64_t kMost = uint64_t(1) << 46;
  if (__builtin_mul_overflow(count, bytes, &product) || product > kMost || sum > kMost)
    return false;
  sum += product;
  return true;
}

Outcome<void> Program::reserve(std::span<const int64_t> wanted) {
  std::vector<int64_t> next(wanted.begin(), wanted.end());
  for (size_t i = 0; i < capacities.size(); ++i)
    next[i] = std::max(next[i], capacities[i]);
  if (next == capacities)
    return {};
  uint64_t bytes = uint64_t(manifest.arena.constant);
  bool fits = true;
  for (size_t i = 0; i < next.size(); ++i)
    fits &= addBytes(bytes, uint64_t(next[i]), uint64_t(manifest.arena.sizes[i]));
  fits &= addBytes(bytes, uint64_t(threads()), uint64_t(manifest.arena.perThread));
  if (!fits)
    return fault(QUERN_BAD_PACKAGE, "the package asks for more working memory than any machine has");
  arena = Memory(); // nothing in it outlives a step; giving it back first halves the peak
  capacities.clear();
  auto memory = Memory::allocate(bytes, "the working memory of the model",
                                 "use a smaller prompt chunk, fewer threads or a smaller batch");
  if (!memory)
    return tl::unexpected(std::move(memory).error());
  arena = *std::move(memory);
  capacities = std::move(next);
  ::madvise(arena.data(), arena.size(), MADV_HUGEPAGE); // fewer page faults and TLB misses; a hint only
  return {};
}

void Program::run(QuernEntry entry, std::span<void *const> buffers, std::span<const int64_t> sizes, Profile *profile) {
  QuernCall call{};
  call.abiVersion = QUERN_KERNEL_ABI_VERSION;
  call.threads = pool.threads();
  call.weights = weights;
  call.arena = arena.data();
  call.buffers = buffers.data();
  call.sizes = sizes.data();
  call.capacities = capacities.data();
  call.barrier = [](void *context) { static_cast<Barrier *>(context)->arrive(); };
  call.barrierContext = &pool.barrier();
  if (profile)
    profile->attach(call);
  pool.run([&](int thread) {
    QuernCall mine = call;
    mine.thread = thread;
    entry(&mine);
  });
}

} // namespace quern::runtime
