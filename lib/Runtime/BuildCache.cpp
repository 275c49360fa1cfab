#include "BuildCache.h"

#include "quern/Support/AtomicFile.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

namespace quern::runtime {
namespace {

namespace fs = std::filesystem;

/// Before the program's bytes in a file.
struct Header {
  char magic[8];
  uint64_t bytes;
  Hash128 key, hash;
};
constexpr char kMagic[8] = {'Q', 'U', 'E', 'R', 'N', 'B', 'L', 'T'};
constexpr char kEnding[] = ".program";
constexpr char kUnfinished[] = ".program.tmp."; ///< then a process, which may have been killed (AtomicFile)
constexpr std::chrono::hours kLongestWrite{1};

std::string folderOf(const char *variable) {
  const char *value = std::getenv(variable);
  return value && *value == '/' ? value : ""; // relative ones are to be ignored, says the XDG specification
}

/// A program runs in this process, so that only what the user alone can have written is taken.
bool isOwn(int file, struct stat &status) {
  return ::fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == ::geteuid() &&
         (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

bool readAll(int file, void *to, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    ssize_t count = ::read(file, static_cast<char *>(to) + done, bytes - done);
    if (count <= 0)
      return false;
    done += size_t(count);
  }
  return true;
}

} // namespace

std::optional<BuildCache> BuildCache::ofUser() {
  const char *chosen = std::getenv("QUERN_CACHE");
  if (chosen && *chosen)
    return std::strcmp(chosen, "none") == 0 ? std::nullopt : std::optional(BuildCache(chosen));
  if (std::string cache = folderOf("XDG_CACHE_HOME"); !cache.empty())
    return BuildCache(cache + "/quern");
  std::string home = folderOf("HOME");
  return home.empty() ? std::nullopt : std::optional(BuildCache(home + "/.cache/quern"));
}

Hash128 BuildCache::keyOf(std::span<const std::string_view> parts) {
  Hasher hasher;
  for (std::string_view part : parts) {
    uint64_t size = part.size();
    hasher.update({reinterpret_cast<const uint8_t *>(&size), sizeof size});
    hasher.update({reinterpret_cast<const uint8_t *>(part.data()), part.size()});
  }
  return hasher.digest();
}

std::string BuildCache::pathOf(const Hash128 &key) const {
  char name[33];
  std::snprintf(name, sizeof name, "%016llx%016llx", (unsigned long long)key.high, (unsigned long long)key.low);
  return folder + "/" + name + kEnding;
}

std::vector<uint8_t> BuildCache::find(const Hash128 &key) const {
  std::vector<uint8_t> program;
  int file = ::open(pathOf(key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  struct stat status;
  Header header;
  if (file >= 0 && isOwn(file, status) && readAll(file, &header, sizeof header) &&
      std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 && header.key == key &&
      header.bytes == uint64_t(status.st_size) - sizeof header && header.bytes <= mostBytes) {
    program.resize(header.bytes);
    if (!readAll(file, program.data(), program.size()) || hash128(program) != header.hash)
      program.clear();
    else
      ::futimens(file, nullptr); // when it was used last
  }
  if (file >= 0)
    ::close(file);
  return program;
}

void BuildCache::keep(const Hash128 &key, std::span<const uint8_t> program) const {
  if (program.empty() || program.size() > mostBytes)
    return;
  std::error_code error;
  fs::create_directories(folder, error);
  Header header{{}, program.size(), key, hash128(program)};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  std::string path = pathOf(key);
  auto file = AtomicFile::create(path);
  if (!file || !file->append({reinterpret_cast<const uint8_t *>(&header), sizeof header}) || !file->append(program))
    return;
  if (file->finish())
    makeRoom(path);
}

void BuildCache::makeRoom(const std::string &kept) const {
  struct Entry {
    std::string path;
    fs::file_time_type used;
    uint64_t bytes;
  };
  const fs::file_time_type longAgo = fs::file_time_type::clock::now() - kLongestWrite;
  std::vector<Entry> entries;
  uint64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code gone; // another process makes room too
    Entry entry{it->path().string(), it->last_write_time(gone), it->file_size(gone)};
    const std::string name = it->path().filename().string();
    bool unfinished = name.find(kUnfinished) != std::string::npos;
    if (gone || (!unfinished && !name.ends_with(kEnding)))
      continue;
    if (unfinished && entry.used < longAgo) {
      fs::remove(entry.path, gone);
      continue;
    }
    total += entry.bytes;
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) { return a.used < b.used; });
  for (size_t i = 0; i < entries.size() && total > mostBytes; ++i) {
    if (entries[i].path == kept)
      continue;
    fs::remove(entries[i].path, error);
    total -= entries[i].bytes;
  }
}

} // namespace quern::runtime
