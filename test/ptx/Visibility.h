// What the threads of a block may know of what other blocks wrote in the same launch.
//
// A block that reads what another one wrote has to be told so by an atomic access to one place: the writer's, behind a
// fence that is behind the writes, then the reader's, with a fence before the reads. Between the lane that does so and
// the others of its warp or block stand barriers. Who leaves one of them out reads what happened to be there. So it is
// where a block writes what another one wrote.
#ifndef QUERN_TEST_PTX_VISIBILITY_H
#define QUERN_TEST_PTX_VISIBILITY_H

#include "test/ptx/SharedMemory.h"

#include <map>
#include <unordered_map>
#include <vector>

namespace quern::ptx {

/// Of one launch. Only of warps that have made an atomic access, or are behind a barrier behind one, are accesses
/// checked: others may read what they do not use.
class Visibility {
public:
  void beginBlock(uint32_t number);
  /// Nothing if the access is fine; else what is wrong with it.
  std::string write(uint64_t address, uint32_t bytes, const Access &by);
  std::string read(uint64_t address, uint32_t bytes, const Access &by) const;
  /// A fence for the whole device.
  void fence(const Access &by);
  void atomic(uint64_t address, const Access &by);

private:
  /// An event in the order in which all of them are executed.
  struct Event {
    uint32_t block = 0;
    Access by;
    uint64_t time = 0;
    /// Whether the program says that this one, of the same block, comes before `later`.
    bool before(const Event &later) const;
  };
  using Events = std::vector<Event>;
  struct Told {
    Event fence;     ///< of this block
    Events releases; ///< fences of blocks, behind which what they wrote before is known
  };
  struct ThreadState {
    Event fence; ///< the last
    bool hasFence = false;
    Events heard; ///< by atomic accesses; known from the next fence on
  };
  Event event(const Access &by) const { return {block, by, now}; }
  bool listens(const Access &by) const;
  std::string check(const char *verb, uint64_t address, uint32_t bytes, const Access &by) const;

  uint32_t block = 0;
  uint64_t now = 0;
  std::unordered_map<uint64_t, Event> writes; ///< the last one of each four bytes
  std::map<uint64_t, Events> released;        ///< at the places of atomic accesses
  std::map<uint32_t, ThreadState> threads;    ///< of this block
  std::vector<Told> told;                     ///< this block
  Events atomics;                             ///< of this block
};

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_VISIBILITY_H
