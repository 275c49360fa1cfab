// Which instruction-set features this processor has and the operating system lets programs use.
#ifndef QUERN_LIB_RUNTIME_CPU_H
#define QUERN_LIB_RUNTIME_CPU_H

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace quern::runtime {

/// A set of features by name; spelled as LLVM does ("avx512vnni", "sse4.2"), with or without '.', '_' and '-'.
class CpuFeatures {
public:
  /// Those of this machine. Registers that the system does not save do not count.
  static CpuFeatures detect();

  bool has(std::string_view name) const { return names.count(plain(name)) != 0; }
  /// Takes features away: a comma-separated list, or "all" for everything beyond x86-64-v2.
  void mask(std::string_view list);
  /// Those of `wanted` that are not here, as given.
  std::vector<std::string> missing(const std::vector<std::string> &wanted) const;
  /// All of them, in alphabetical order.
  std::string describe() const;

private:
  static std::string plain(std::string_view name);
  std::set<std::string> names;
};

/// Number of processors that this process may run on, at least 1.
int availableProcessors();

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_CPU_H
