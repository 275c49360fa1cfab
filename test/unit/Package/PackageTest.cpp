// The container: what is written can be read, the same sections give the same bytes, and every kind of damage ends in
// one sentence.
#include "quern/Package/PackageFormat.h"
#include "quern/Package/PackageWriter.h"
#include "quern/Runtime/Hash.h"
#include "quern/Runtime/PackageReader.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>

using namespace quern;
using namespace quern::package;
namespace fs = std::filesystem;

namespace {

using Bytes = std::vector<uint8_t>;

class PackageTest : public ::testing::Test {
protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("quern-package-" + std::to_string(::getpid()));
    fs::create_directories(folder);
  }
  void TearDown() override { fs::remove_all(folder); }

  std::string path(const char *name) const { return (folder / name).string(); }

  static Status write(const std::string &path) {
    QUERN_ASSIGN(PackageWriter writer, PackageWriter::create(path));
    QUERN_TRY(writer.addSection(kManifest, "{}"));
    QUERN_TRY(writer.addStream("plan", [](PackageWriter::Stream &stream) -> Status {
      Bytes piece(1000, 7);
      for (int i = 0; i < 10; ++i)
        QUERN_TRY(stream.write(piece));
      return {};
    }));
    QUERN_TRY(writer.addRegion(kWeights, 10000, [](PackageWriter::Region &region) -> Status {
      QUERN_TRY(region.writeAt(9996, Bytes{1, 2, 3, 4}));
      return region.writeAt(0, Bytes{5, 6});
    }));
    return writer.finish();
  }
  static Bytes load(const std::string &path) {
    std::ifstream in(path, std::ios::binary);
    return Bytes(std::istreambuf_iterator<char>(in), {});
  }
  /// The message that a changed package is refused with; "" if it is accepted. `rehash` repairs the table's hash.
  std::string refusal(const std::function<void(Bytes &)> &change, bool rehash = false) {
    if (!fs::exists(path("good")))
      EXPECT_TRUE(write(path("good")));
    Bytes file = load(path("good"));
    change(file);
    if (rehash) {
      uint64_t hash = hash64(std::span(file).subspan(sizeof(Header), 3 * sizeof(SectionEntry)));
      std::memcpy(&file[offsetof(Header, tableHash)], &hash, sizeof hash);
    }
    auto sections = readSections(file, "p");
    return sections ? "" : sections.error().message;
  }
  static SectionEntry *entry(Bytes &file, int index) {
    return reinterpret_cast<SectionEntry *>(&file[sizeof(Header) + index * sizeof(SectionEntry)]);
  }

  fs::path folder;
};

TEST_F(PackageTest, ReadsWhatWasWritten) {
  ASSERT_TRUE(write(path("a.quern")));
  auto reader = PackageReader::open(path("a.quern"));
  ASSERT_TRUE(reader) << reader.error().message;
  ASSERT_EQ(reader->sections().size(), 3u);
  EXPECT_EQ(reader->find("plan")->bytes.size(), 10000u);
  const Section *weights = *reader->require(kWeights);
  EXPECT_EQ(weights->offset % kSectionAlignment, 0u);
  EXPECT_EQ(weights->bytes[0], 5);
  EXPECT_EQ(weights->bytes[100], 0);
  EXPECT_EQ(weights->bytes[9999], 4);
  EXPECT_TRUE(reader->verifyWeights());
  EXPECT_EQ(reader->require("nothing").error().message, path("a.quern") + ": the package has no section 'nothing'");
}

TEST_F(PackageTest, SameSectionsGiveTheSameBytes) {
  ASSERT_TRUE(write(path("a.quern")));
  ASSERT_TRUE(write(path("b.quern")));
  EXPECT_EQ(load(path("a.quern")), load(path("b.quern")));
}

TEST_F(PackageTest, NothingAppearsWhenWritingFails) {
  {
    auto writer = PackageWriter::create(path("a.quern"));
    ASSERT_TRUE(writer);
    auto status = writer->addRegion(kWeights, 10, [](auto &region) { return region.writeAt(8, Bytes(3)); });
    ASSERT_FALSE(status);
    EXPECT_NE(status.error().message.find("outside its section of 10 bytes"), std::string::npos);
  }
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST_F(PackageTest, RefusesDoubleAndOverlongNames) {
  auto writer = PackageWriter::create(path("a.quern"));
  ASSERT_TRUE(writer->addSection("x", "1"));
  EXPECT_FALSE(writer->addSection("x", "2"));
  EXPECT_FALSE(writer->addSection(std::string(48, 'n'), "3"));
  EXPECT_FALSE(PackageWriter::create(path("no/such/folder")));
}

TEST_F(PackageTest, DamagedHeaderIsRefused) {
  EXPECT_EQ(refusal([](Bytes &) {}), "");
  EXPECT_NE(refusal([](Bytes &file) { file.clear(); }).find("not a Quern package"), std::string::npos);
  EXPECT_NE(refusal([](Bytes &file) { file[0] = 'q'; }).find("not a Quern package"), std::string::npos);
  EXPECT_NE(refusal([](Bytes &file) { file[8] = 2; }).find("format version 2"), std::string::npos);
  EXPECT_NE(refusal([](Bytes &file) { file.pop_back(); }).find("truncated"), std::string::npos);
  EXPECT_NE(refusal([](Bytes &file) { file[12] = 65; }).find("says 65 sections"), std::string::npos);
  EXPECT_NE(refusal([](Bytes &file) { file[12] = 2; }).find("table does not match its hash"), std::string::npos);
}

TEST_F(PackageTest, DamagedTableIsRefused) {
  auto outOfPlace = [&](const std::function<void(Bytes &)> &change) {
    EXPECT_NE(refusal(change, true).find("out of place"), std::string::npos);
  };
  outOfPlace([](Bytes &file) { entry(file, 1)->offset += 1; });
  outOfPlace([](Bytes &file) { entry(file, 1)->offset = 0; });
  outOfPlace([](Bytes &file) { entry(file, 2)->size = ~uint64_t(0); });
  outOfPlace([](Bytes &file) { entry(file, 2)->offset = uint64_t(1) << 40; });
  outOfPlace([](Bytes &file) { entry(file, 2)->offset = entry(file, 1)->offset; });
  EXPECT_NE(refusal([](Bytes &file) { entry(file, 1)->name[0] = 0; }, true).find("malformed name"), std::string::npos);
  EXPECT_NE(refusal([](Bytes &file) { std::strcpy(entry(file, 1)->name, kManifest); }, true).find("there twice"),
            std::string::npos);
}

TEST_F(PackageTest, SwappedOrDamagedSectionsAreRefused) {
  auto swapNames = [](Bytes &file) { std::swap(entry(file, 0)->name, entry(file, 1)->name); };
  EXPECT_EQ(refusal(swapNames, true), ""); // only the maker of a file can do so; its contents then fail to parse
  auto swapHashes = [](Bytes &file) { std::swap(entry(file, 0)->hash, entry(file, 1)->hash); };
  EXPECT_NE(refusal(swapHashes, true).find("section 'manifest' does not match its hash"), std::string::npos);
  EXPECT_NE(refusal([](Bytes &file) { file[entry(file, 1)->offset + 99] ^= 1; }).find("section 'plan'"),
            std::string::npos);
}

TEST_F(PackageTest, DamagedWeightsAreFoundOnDemand) {
  ASSERT_TRUE(write(path("good")));
  Bytes file = load(path("good"));
  file.back() ^= 1;
  std::ofstream(path("bad"), std::ios::binary).write(reinterpret_cast<char *>(file.data()), long(file.size()));
  auto reader = PackageReader::open(path("bad"));
  ASSERT_TRUE(reader);
  auto status = reader->verifyWeights();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("section 'weights' does not match its hash"), std::string::npos);
  EXPECT_FALSE(reader->verifyWeights([](uint64_t, uint64_t) { return false; }));
}

TEST_F(PackageTest, DamagedWeightsOfDevicesAreFoundOnDemand) {
  auto writer = PackageWriter::create(path("device"));
  ASSERT_TRUE(writer);
  for (const char *name : {kWeights, kDeviceWeights})
    ASSERT_TRUE(writer->addSection(name, Bytes(5000, 3)));
  ASSERT_TRUE(writer->finish());
  std::vector<uint64_t> steps;
  auto count = [&](uint64_t done, uint64_t total) {
    steps.insert(steps.end(), {done, total});
    return true;
  };
  ASSERT_TRUE(PackageReader::open(path("device"))->verifyWeights(count));
  EXPECT_EQ(steps, (std::vector<uint64_t>{5000, 10000, 10000, 10000}));
  Bytes file = load(path("device"));
  file.back() ^= 1;
  std::ofstream(path("device"), std::ios::binary).write(reinterpret_cast<char *>(file.data()), long(file.size()));
  auto reader = PackageReader::open(path("device"));
  ASSERT_TRUE(reader);
  auto status = reader->verifyWeights();
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("section 'weights.gpu' does not match its hash"), std::string::npos);
}

TEST_F(PackageTest, WhatIsNoFileIsRefused) {
  EXPECT_FALSE(PackageReader::open(path("missing")));
  EXPECT_EQ(PackageReader::open(folder.string()).error().message, folder.string() + ": not a file");
  std::ofstream(path("empty"));
  EXPECT_FALSE(PackageReader::open(path("empty")));
}

} // namespace
