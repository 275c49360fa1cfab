#include "Cpu.h"

#include <cstdint>
#include <sched.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace quern::runtime {
namespace {

/// What must be saved by the system for a feature's registers (bits of XCR0).
enum State : uint32_t { kPlain = 0, kYmm = 0x06, kZmm = 0xE6 };

enum Register { kEax, kEbx, kEcx, kEdx };

struct Feature {
  const char *name;
  uint32_t leaf, subleaf;
  Register reg;
  int bit;
  State state;
  bool baseline; ///< part of x86-64-v2
};

// Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E (leaf 0x80000001).
constexpr Feature kFeatures[] = {
    {"sse", 1, 0, kEdx, 25, kPlain, true},
    {"sse2", 1, 0, kEdx, 26, kPlain, true},
    {"sse3", 1, 0, kEcx, 0, kPlain, true},
    {"pclmul", 1, 0, kEcx, 1, kPlain, false},
    {"ssse3", 1, 0, kEcx, 9, kPlain, true},
    {"fma", 1, 0, kEcx, 12, kYmm, false},
    {"cx16", 1, 0, kEcx, 13, kPlain, true},
    {"sse41", 1, 0, kEcx, 19, kPlain, true},
    {"sse42", 1, 0, kEcx, 20, kPlain, true},
    {"movbe", 1, 0, kEcx, 22, kPlain, false},
    {"popcnt", 1, 0, kEcx, 23, kPlain, true},
    {"aes", 1, 0, kEcx, 25, kPlain, false},
    {"avx", 1, 0, kEcx, 28, kYmm, false},
    {"f16c", 1, 0, kEcx, 29, kYmm, false},
    {"bmi", 7, 0, kEbx, 3, kPlain, false},
    {"avx2", 7, 0, kEbx, 5, kYmm, false},
    {"bmi2", 7, 0, kEbx, 8, kPlain, false},
    {"avx512f", 7, 0, kEbx, 16, kZmm, false},
    {"avx512dq", 7, 0, kEbx, 17, kZmm, false},
    {"adx", 7, 0, kEbx, 19, kPlain, false},
    {"avx512ifma", 7, 0, kEbx, 21, kZmm, false},
    {"avx512cd", 7, 0, kEbx, 28, kZmm, false},
    {"avx512bw", 7, 0, kEbx, 30, kZmm, false},
    {"avx512vl", 7, 0, kEbx, 31, kZmm, false},
    {"avx512vbmi", 7, 0, kEcx, 1, kZmm, false},
    {"avx512vbmi2", 7, 0, kEcx, 6, kZmm, false},
    {"gfni", 7, 0, kEcx, 8, kPlain, false},
    {"vaes", 7, 0, kEcx, 9, kYmm, false},
    {"vpclmulqdq", 7, 0, kEcx, 10, kYmm, false},
    {"avx512vnni", 7, 0, kEcx, 11, kZmm, false},
    {"avx512bitalg", 7, 0, kEcx, 12, kZmm, false},
    {"avx512vpopcntdq", 7, 0, kEcx, 14, kZmm, false},
    {"avx512fp16", 7, 0, kEdx, 23, kZmm, false},
    {"avxvnni", 7, 1, kEax, 4, kYmm, false},
    {"avx512bf16", 7, 1, kEax, 5, kZmm, false},
    {"avxifma", 7, 1, kEax, 23, kYmm, false},
    {"avxvnniint8", 7, 1, kEdx, 4, kYmm, false},
    {"sahf", 0x80000001, 0, kEcx, 0, kPlain, true},
    {"lzcnt", 0x80000001, 0, kEcx, 5, kPlain, false},
};

#if defined(__x86_64__)
/// XCR0, or 0 where the system does not use XSAVE.
uint64_t savedState() {
  uint32_t r[4];
  constexpr uint32_t kOsxsave = 1u << 27;
  if (!__get_cpuid(1, &r[kEax], &r[kEbx], &r[kEcx], &r[kEdx]) || !(r[kEcx] & kOsxsave))
    return 0;
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}
#endif

} // namespace

CpuFeatures CpuFeatures::detect() {
  CpuFeatures out;
#if defined(__x86_64__)
  uint64_t state = savedState();
  for (const Feature &feature : kFeatures) {
    uint32_t r[4];
    if (!__get_cpuid_count(feature.leaf, feature.subleaf, &r[kEax], &r[kEbx], &r[kEcx], &r[kEdx]))
      continue;
    if (r[feature.reg] >> feature.bit & 1 && (state & feature.state) == feature.state)
      out.names.insert(feature.name);
  }
#endif
  return out;
}

std::string CpuFeatures::plain(std::string_view name) {
  std::string out;
  for (char c : name)
    if (c != '.' && c != '_' && c != '-' && c != ' ')
      out.push_back(c >= 'A' && c <= 'Z' ? char(c + 32) : c);
  return out;
}

void CpuFeatures::mask(std::string_view list) {
  while (!list.empty()) {
    size_t comma = std::min(list.find(','), list.size());
    std::string name = plain(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
    names.erase(name);
    for (const Feature &feature : kFeatures)
      if (name == "all" && !feature.baseline)
        names.erase(feature.name);
  }
}

std::vector<std::string> CpuFeatures::missing(const std::vector<std::string> &wanted) const {
  std::vector<std::string> out;
  for (const std::string &name : wanted)
    if (!has(name))
      out.push_back(name);
  return out;
}

std::string CpuFeatures::describe() const {
  std::string out;
  for (const std::string &name : names)
    out += (out.empty() ? "" : ",") + name;
  return out;
}

int availableProcessors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return 1;
  int count = CPU_COUNT(&set);
  return count > 0 ? count : 1;
}

} // namespace quern::runtime
