// A file appears whole or not at all, and nothing else is left in its folder.
#include "quern/Support/AtomicFile.h"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>
#include <vector>

using namespace quern;
namespace fs = std::filesystem;

namespace {

class AtomicFileTest : public ::testing::Test {
protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("quern-atomic-" + std::to_string(::getpid()));
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  std::string path() const { return (folder / "out").string(); }
  std::string content() const {
    std::ifstream in(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  size_t files() const { return size_t(std::distance(fs::directory_iterator(folder), {})); }

  fs::path folder;
};

std::span<const uint8_t> bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
}

TEST_F(AtomicFileTest, AppearsWhenFinished) {
  std::ofstream(path()) << "old";
  auto file = AtomicFile::create(path());
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->append(bytes("hello ")));
  ASSERT_TRUE(file->writeAt(8, bytes("rld")));
  ASSERT_TRUE(file->append(bytes("wo")));
  EXPECT_EQ(content(), "old");
  uint8_t back[5];
  ASSERT_TRUE(file->readAt(6, back));
  EXPECT_EQ(std::string(back, back + 5), "world");
  ASSERT_TRUE(file->finish());
  EXPECT_EQ(content(), "hello world");
  EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFileTest, LeavesNothingWhenDropped) {
  {
    auto file = AtomicFile::create(path());
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->append(bytes("half")));
    AtomicFile moved = std::move(*file);
    EXPECT_EQ(files(), 1u);
  }
  EXPECT_EQ(files(), 0u);
}

TEST_F(AtomicFileTest, ResizesAndRefusesToReadPastTheEnd) {
  auto file = AtomicFile::create(path());
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->resize(3));
  std::vector<uint8_t> back(4, 9);
  auto status = file->readAt(0, back);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, path() + ": reading back failed: the file ends at byte 3");
  ASSERT_TRUE(file->finish());
  EXPECT_EQ(content(), std::string(3, '\0'));
}

TEST_F(AtomicFileTest, NamesWhatFails) {
  auto file = AtomicFile::create((folder / "missing" / "out").string());
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message,
            (folder / "missing" / "out").string() + ": creating a file beside it failed: No such file or directory");
  fs::create_directories(path()); // a folder of the same name
  auto blocked = AtomicFile::create(path());
  ASSERT_TRUE(blocked);
  auto status = blocked->finish();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, path() + ": renaming the finished file failed: Is a directory");
}

} // namespace
