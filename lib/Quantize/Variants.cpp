// Chooses among the instruction sets that GroupSearch.cpp is compiled for.
#include "GroupTile.h"

#include <array>
#include <vector>

namespace quern::quantize {

extern const Searches kBaseline;
#ifdef QUERN_X86_VARIANTS
extern const Searches kAvx2;
extern const Searches kAvx512;
#endif

static std::vector<const Searches *> usable() {
  std::vector<const Searches *> list = {&kBaseline};
#ifdef QUERN_X86_VARIANTS
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2"))
    list.push_back(&kAvx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    list.push_back(&kAvx512);
#endif
  return list;
}

const Searches *const *allSearches(int &count) {
  static const std::vector<const Searches *> list = usable();
  count = int(list.size());
  return list.data();
}

const Searches &searches() {
  int count = 0;
  const Searches *const *list = allSearches(count);
  return *list[count - 1];
}

} // namespace quern::quantize
