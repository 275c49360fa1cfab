#include "test/ptx/Visibility.h"

#include <algorithm>

namespace quern::ptx {

bool Visibility::Event::before(const Event &later) const { return time < later.time && !by.together(later.by); }

void Visibility::beginBlock(uint32_t number) {
  block = number;
  threads.clear();
  told.clear();
  atomics.clear();
}

std::string Visibility::write(uint64_t address, uint32_t bytes, const Access &by) {
  std::string wrong = check("overwrites", address, bytes, by);
  ++now;
  for (uint64_t word = address / 4; word <= (address + bytes - 1) / 4; ++word)
    writes[word] = event(by);
  return wrong;
}

std::string Visibility::read(uint64_t address, uint32_t bytes, const Access &by) const {
  return check("reads", address, bytes, by);
}

bool Visibility::listens(const Access &by) const {
  return std::ranges::any_of(atomics, [&](const Event &atomic) {
    return atomic.by.thread / 32 == by.thread / 32 || atomic.by.epoch != by.epoch;
  });
}

std::string Visibility::check(const char *verb, uint64_t address, uint32_t bytes, const Access &by) const {
  if (!listens(by))
    return {};
  Event access = event(by);
  ++access.time;
  for (uint64_t word = address / 4; word <= (address + bytes - 1) / 4; ++word) {
    auto found = writes.find(word);
    if (found == writes.end() || found->second.block == block)
      continue;
    const Event &writer = found->second;
    auto knows = [&](const Event &release) { return release.block == writer.block && writer.before(release); };
    if (std::ranges::none_of(told, [&](const Told &one) {
          return one.fence.before(access) && std::ranges::any_of(one.releases, knows);
        }))
      return std::string(verb) + " what thread " + std::to_string(writer.by.thread) + " of block " +
             std::to_string(writer.block) + " wrote in line " + std::to_string(writer.by.line) +
             ", of which no fences and atomic accesses in between tell";
  }
  return {};
}

void Visibility::fence(const Access &by) {
  ++now;
  ThreadState &thread = threads[by.thread];
  thread.fence = event(by);
  thread.hasFence = true;
  if (!thread.heard.empty())
    told.push_back({thread.fence, std::move(thread.heard)});
  thread.heard.clear();
}

void Visibility::atomic(uint64_t address, const Access &by) {
  ++now;
  atomics.push_back(event(by));
  ThreadState &thread = threads[by.thread];
  Events &here = released[address];
  thread.heard.insert(thread.heard.end(), here.begin(), here.end());
  if (!thread.hasFence)
    return;
  here.push_back(thread.fence);
  for (const Told &one : told)
    if (one.fence.before(thread.fence) || one.fence.time == thread.fence.time)
      here.insert(here.end(), one.releases.begin(), one.releases.end());
}

} // namespace quern::ptx
