// The file is mapped once, read-only; sections are views into the mapping.
#include "quern/Runtime/PackageReader.h"

#include "quern/Runtime/Hash.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace quern::package {

/// The name of an entry: printable ASCII, ended and padded by zeros; empty if it is not.
static std::string entryName(const SectionEntry &entry) {
  size_t length = strnlen(entry.name, sizeof entry.name);
  bool clean = length < sizeof entry.name;
  for (size_t i = 0; i < sizeof entry.name; ++i)
    clean &= i < length ? entry.name[i] > ' ' && entry.name[i] < 127 : entry.name[i] == 0;
  return clean ? std::string(entry.name, length) : std::string();
}

static Result<Header> readHeader(std::span<const uint8_t> file, const std::string &name) {
  Header header;
  if (file.size() < sizeof header || std::memcmp(file.data(), kMagic, sizeof kMagic) != 0)
    return fail(name + ": not a Quern package (make one with `quern compile`)");
  std::memcpy(&header, file.data(), sizeof header);
  if (header.formatVersion != kFormatVersion)
    return fail(name + ": package format version " + std::to_string(header.formatVersion) + ", this runtime reads " +
                std::to_string(kFormatVersion) + "; compile the model again");
  if (header.fileSize != file.size())
    return fail(name + ": the package should have " + std::to_string(header.fileSize) + " bytes but has " +
                std::to_string(file.size()) + "; it is truncated or damaged");
  if (header.sectionCount > kMaxSections ||
      file.size() - sizeof header < header.sectionCount * sizeof(SectionEntry))
    return fail(name + ": the section table says " + std::to_string(header.sectionCount) +
                " sections; the package is damaged");
  return header;
}

/// Checks one entry against the end of what comes before it, and makes it a section.
static Result<Section> readSection(std::span<const uint8_t> file, const SectionEntry &entry, uint64_t previousEnd,
                                   const std::string &name) {
  std::string section = entryName(entry);
  if (section.empty())
    return fail(name + ": a section has a malformed name; the package is damaged");
  if (entry.offset % kSectionAlignment != 0 || entry.offset < previousEnd || entry.offset > file.size() ||
      entry.size > file.size() - entry.offset)
    return fail(name + ": section '" + section + "' (offset " + std::to_string(entry.offset) + ", " +
                std::to_string(entry.size) + " bytes) is out of place; the package is damaged");
  return Section{section, entry.offset, file.subspan(entry.offset, entry.size), {entry.hash[0], entry.hash[1]}};
}

static tl::unexpected<Error> hashDiffers(const std::string &name, const Section &section) {
  return fail(name + ": section '" + section.name + "' does not match its hash; the package is damaged");
}

/// Gigabytes: their hashes are compared on demand only.
static bool holdsWeights(const Section &section) { return section.name == kWeights || section.name == kDeviceWeights; }

Result<std::vector<Section>> readSections(std::span<const uint8_t> file, const std::string &name) {
  QUERN_ASSIGN(Header header, readHeader(file, name));
  std::span<const uint8_t> table = file.subspan(sizeof header, header.sectionCount * sizeof(SectionEntry));
  if (hash64(table) != header.tableHash)
    return fail(name + ": the section table does not match its hash; the package is damaged");
  std::vector<Section> sections;
  uint64_t previousEnd = sizeof header + table.size();
  for (uint32_t i = 0; i < header.sectionCount; ++i) {
    SectionEntry entry;
    std::memcpy(&entry, table.data() + i * sizeof entry, sizeof entry);
    QUERN_ASSIGN(Section section, readSection(file, entry, previousEnd, name));
    for (const Section &other : sections)
      if (other.name == section.name)
        return fail(name + ": section '" + section.name + "' is there twice; the package is damaged");
    if (!holdsWeights(section) && hash128(section.bytes) != Hash128{section.hash[0], section.hash[1]})
      return hashDiffers(name, section);
    previousEnd = section.offset + section.bytes.size();
    sections.push_back(std::move(section));
  }
  return sections;
}

Result<PackageReader> PackageReader::open(const std::string &path) {
  PackageReader reader;
  reader.filePath = path;
  reader.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (reader.fd < 0 || ::fstat(reader.fd, &info) != 0)
    return fail(path + ": cannot be opened: " + std::strerror(errno));
  if (!S_ISREG(info.st_mode))
    return fail(path + ": not a file");
  if (info.st_size > 0) {
    void *mapped = ::mmap(nullptr, size_t(info.st_size), PROT_READ, MAP_PRIVATE, reader.fd, 0);
    if (mapped == MAP_FAILED)
      return fail(path + ": cannot be mapped: " + std::strerror(errno));
    reader.file = {static_cast<const uint8_t *>(mapped), size_t(info.st_size)};
  }
  QUERN_ASSIGN(reader.table, readSections(reader.file, path));
  return reader;
}

PackageReader::PackageReader(PackageReader &&other) noexcept
    : filePath(std::move(other.filePath)), fd(std::exchange(other.fd, -1)), file(std::exchange(other.file, {})),
      table(std::move(other.table)) {}

PackageReader::~PackageReader() {
  if (!file.empty())
    ::munmap(const_cast<uint8_t *>(file.data()), file.size());
  if (fd >= 0)
    ::close(fd);
}

const Section *PackageReader::find(std::string_view name) const {
  auto it = std::find_if(table.begin(), table.end(), [&](const Section &section) { return section.name == name; });
  return it == table.end() ? nullptr : &*it;
}

Result<const Section *> PackageReader::require(std::string_view name) const {
  if (const Section *section = find(name))
    return section;
  return fail(filePath + ": the package has no section '" + std::string(name) + "'");
}

Status PackageReader::verifyWeights(const Progress &progress) const {
  constexpr size_t kPiece = size_t(16) << 20; // often enough for a progress bar at disk speed
  size_t total = 0, done = 0;
  for (const Section &section : table)
    total += holdsWeights(section) ? section.bytes.size() : 0;
  for (const Section &section : table) {
    if (!holdsWeights(section))
      continue;
    Hasher hasher;
    for (size_t at = 0; at < section.bytes.size();) {
      size_t count = std::min(kPiece, section.bytes.size() - at);
      hasher.update(section.bytes.subspan(at, count));
      at += count;
      done += count;
      if (progress && !progress(done, total))
        return fail(filePath + ": verifying the weights was stopped");
    }
    if (hasher.digest() != Hash128{section.hash[0], section.hash[1]})
      return hashDiffers(filePath, section);
  }
  return {};
}

} // namespace quern::package
