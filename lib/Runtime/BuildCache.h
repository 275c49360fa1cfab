// Programs as drivers compiled them, kept on disk from one opening of a model to the next.
#ifndef QUERN_LIB_RUNTIME_BUILDCACHE_H
#define QUERN_LIB_RUNTIME_BUILDCACHE_H

#include "quern/Runtime/Hash.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern::runtime {

/// A folder with a file for each program. Nothing that goes wrong with it is an error: then programs are compiled
/// again.
class BuildCache {
public:
  static constexpr uint64_t kMostBytes = uint64_t(512) << 20;

  /// The folder that QUERN_CACHE names, else that of the user: $XDG_CACHE_HOME/quern or ~/.cache/quern. None where
  /// QUERN_CACHE is "none", or no home is known.
  static std::optional<BuildCache> ofUser();
  /// The folder is made when something is kept. `mostBytes` bounds all entries together.
  explicit BuildCache(std::string folder, uint64_t mostBytes = kMostBytes)
      : folder(std::move(folder)), mostBytes(mostBytes) {}

  /// Of what a program depends on, in order: the module, the device, its driver.
  static Hash128 keyOf(std::span<const std::string_view> parts);

  /// The program kept under the key; empty where there is none, or the file is damaged or was not written by this user.
  std::vector<uint8_t> find(const Hash128 &key) const;
  /// Keeps a program, and removes those that were not used for longest where there are too many. What a killed process
  /// left unfinished counts like them, and goes after an hour.
  void keep(const Hash128 &key, std::span<const uint8_t> program) const;

private:
  std::string pathOf(const Hash128 &key) const;
  void makeRoom(const std::string &kept) const;

  std::string folder;
  uint64_t mostBytes;
};

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_BUILDCACHE_H
