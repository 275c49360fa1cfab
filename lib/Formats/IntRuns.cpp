#include "quern/Formats/IntRuns.h"

using namespace quern::formats;

std::vector<IntRun> quern::formats::intRuns(const PackedInts &ints) {
  std::vector<IntRun> runs;
  unsigned place = 0;
  for (const Plane &plane : ints.planes) {
    size_t count = plane.byte.size();
    for (size_t i = 0; i < count;) {
      size_t length = 1;
      unsigned step = i + 1 < count && plane.byte[i + 1] == plane.byte[i] ? 0 : 1;
      while (i + length < count && plane.shift[i + length] == plane.shift[i] &&
             plane.byte[i + length] == plane.byte[i] + step * length)
        ++length;
      runs.push_back({i, length, plane.byte[i], step, plane.shift[i], (1u << plane.bits) - 1, place});
      i += length;
    }
    place += plane.bits;
  }
  return runs;
}
