// Compiled programs on disk: what is found again, and what is ignored.
#include "lib/Runtime/BuildCache.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <sys/stat.h>
#include <unistd.h>

namespace quern::runtime {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<uint8_t>;

class BuildCacheTest : public testing::Test {
protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("quern-cache-" + std::to_string(::getpid()));
    fs::remove_all(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  BuildCache cache(uint64_t most = BuildCache::kMostBytes) const {
    return BuildCache((folder / "made").string(), most);
  }
  static Hash128 key(std::string_view module) {
    const std::string_view parts[] = {module, "device", "driver"};
    return BuildCache::keyOf(parts);
  }
  /// The only file of the cache.
  fs::path file() const { return fs::directory_iterator(folder / "made")->path(); }
  std::string read() const {
    std::ifstream in(file(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  void write(const std::string &bytes) const { std::ofstream(file(), std::ios::binary) << bytes; }

  fs::path folder;
  const Bytes program = {1, 2, 3, 4, 5};
};

TEST_F(BuildCacheTest, FindsWhatItKept) {
  EXPECT_TRUE(cache().find(key("a")).empty());
  cache().keep(key("a"), program);
  cache().keep(key("b"), Bytes{9});
  EXPECT_EQ(cache().find(key("a")), program);
  EXPECT_EQ(cache().find(key("b")), Bytes{9});
  EXPECT_TRUE(cache().find(key("c")).empty());
  cache().keep(key("a"), Bytes{7, 7});
  EXPECT_EQ(cache().find(key("a")), (Bytes{7, 7}));
}

TEST_F(BuildCacheTest, KeysTellAllPartsApart) {
  const std::string_view a[] = {"ab", "c"}, b[] = {"a", "bc"}, c[] = {"ab", "c", ""};
  EXPECT_FALSE(BuildCache::keyOf(a) == BuildCache::keyOf(b));
  EXPECT_FALSE(BuildCache::keyOf(a) == BuildCache::keyOf(c));
}

TEST_F(BuildCacheTest, IgnoresDamageAndWritesAnew) {
  cache().keep(key("a"), program);
  const std::string whole = read();
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] ^= 0x10;
    write(damaged);
    EXPECT_TRUE(cache().find(key("a")).empty()) << at;
  }
  for (size_t size : {size_t(0), size_t(20), whole.size() - 1}) {
    write(whole.substr(0, size));
    EXPECT_TRUE(cache().find(key("a")).empty()) << size;
  }
  write(whole + "x");
  EXPECT_TRUE(cache().find(key("a")).empty());
  cache().keep(key("a"), program);
  EXPECT_EQ(cache().find(key("a")), program);
}

/// A program runs in this process.
TEST_F(BuildCacheTest, IgnoresWhatOthersMayHaveWritten) {
  cache().keep(key("a"), program);
  ASSERT_EQ(::chmod(file().c_str(), 0666), 0);
  EXPECT_TRUE(cache().find(key("a")).empty());
  cache().keep(key("a"), program);
  EXPECT_EQ(cache().find(key("a")), program);
  fs::path place = file(), elsewhere = folder / "elsewhere";
  fs::rename(place, elsewhere);
  fs::create_symlink(elsewhere, place);
  EXPECT_TRUE(cache().find(key("a")).empty());
  fs::remove(place);
  ASSERT_EQ(::mkfifo(place.c_str(), 0600), 0);
  EXPECT_TRUE(cache().find(key("a")).empty());
}

TEST_F(BuildCacheTest, DropsWhatWasNotUsedForLongest) {
  const Bytes large(1000, 1);
  BuildCache small = cache(3 * (large.size() + 48));
  auto age = [&](int hours) {
    for (const auto &entry : fs::directory_iterator(folder / "made"))
      fs::last_write_time(entry, entry.last_write_time() - std::chrono::hours(hours));
  };
  for (const char *name : {"a", "b", "c"}) {
    small.keep(key(name), large);
    age(1);
  }
  EXPECT_EQ(small.find(key("a")), large); // used now
  small.keep(key("d"), large);
  EXPECT_EQ(small.find(key("a")), large);
  EXPECT_TRUE(small.find(key("b")).empty());
  EXPECT_EQ(small.find(key("c")), large);
  EXPECT_EQ(small.find(key("d")), large);
  small.keep(key("e"), Bytes(5000, 1)); // more than all of them may take
  EXPECT_TRUE(small.find(key("e")).empty());
  EXPECT_EQ(small.find(key("d")), large);
}

TEST_F(BuildCacheTest, DropsWhatAKilledProcessLeft) {
  const Bytes large(1000, 1);
  BuildCache small = cache(3 * (large.size() + 48));
  small.keep(key("a"), large);
  const fs::path first = file();
  auto leave = [&](const std::string &process, int minutes) {
    fs::path path = first.string() + ".tmp." + process;
    std::ofstream(path) << std::string(large.size(), 'x');
    fs::last_write_time(path, fs::last_write_time(path) - std::chrono::minutes(minutes));
    return path;
  };
  fs::path other = folder / "made" / "notes"; // not the cache's
  std::ofstream(other) << std::string(5000, 'x');
  fs::last_write_time(first, fs::last_write_time(first) - std::chrono::hours(3));
  fs::path old = leave("11", 70), recent = leave("12", 20), newest = leave("13", 0);
  small.keep(key("b"), large);
  EXPECT_FALSE(fs::exists(old)) << "no process writes for so long";
  EXPECT_TRUE(small.find(key("a")).empty()) << "unfinished files count too";
  EXPECT_TRUE(fs::exists(recent) && fs::exists(newest) && fs::exists(other));
  small.keep(key("c"), large);
  EXPECT_FALSE(fs::exists(recent)) << "was written longest ago";
  EXPECT_TRUE(fs::exists(newest));
  EXPECT_EQ(small.find(key("b")), large);
  EXPECT_EQ(small.find(key("c")), large);
}

TEST_F(BuildCacheTest, DoesWithoutAFolder) {
  BuildCache nowhere("/dev/null/quern");
  nowhere.keep(key("a"), program);
  EXPECT_TRUE(nowhere.find(key("a")).empty());
}

TEST_F(BuildCacheTest, TheEnvironmentSaysWhere) {
  auto keptIn = [&](std::map<std::string, std::string> environment) -> std::string {
    for (const char *name : {"QUERN_CACHE", "XDG_CACHE_HOME", "HOME"})
      environment.count(name) ? ::setenv(name, environment[name].c_str(), 1) : ::unsetenv(name);
    auto found = BuildCache::ofUser();
    if (found)
      found->keep(key("a"), program);
    for (const auto &entry : fs::recursive_directory_iterator(folder))
      if (std::string path = entry.path().string(); entry.is_regular_file()) {
        fs::remove(entry.path());
        return fs::relative(fs::path(path).parent_path(), folder).string();
      }
    return "";
  };
  const char *home = std::getenv("HOME");
  const std::string before = home ? home : "", root = folder.string();
  fs::create_directories(folder);
  EXPECT_EQ(keptIn({{"HOME", root + "/home"}}), "home/.cache/quern");
  EXPECT_EQ(keptIn({{"HOME", root + "/home"}, {"XDG_CACHE_HOME", root + "/xdg"}}), "xdg/quern");
  EXPECT_EQ(keptIn({{"HOME", root + "/home"}, {"XDG_CACHE_HOME", "relative"}}), "home/.cache/quern");
  EXPECT_EQ(keptIn({{"HOME", root + "/home"}, {"QUERN_CACHE", root + "/own"}}), "own");
  EXPECT_EQ(keptIn({{"HOME", root + "/home"}, {"QUERN_CACHE", "none"}}), "");
  EXPECT_EQ(keptIn({}), "");
  ::unsetenv("QUERN_CACHE");
  home ? ::setenv("HOME", before.c_str(), 1) : ::unsetenv("HOME");
}

} // namespace
} // namespace quern::runtime
