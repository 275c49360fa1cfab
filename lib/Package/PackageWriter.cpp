// Sections go straight to the temporary file; the header and the table, whose place at the front is kept free for the
// most sections there can be, come last.
#include "quern/Package/PackageWriter.h"

#include "quern/Package/PackageFormat.h"
#include "quern/Runtime/Hash.h"
#include "quern/Support/AtomicFile.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace quern::package {

static constexpr uint64_t roundUp(uint64_t value) {
  return (value + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
}
static constexpr uint64_t kFirstSection = roundUp(sizeof(Header) + kMaxSections * sizeof(SectionEntry));

struct PackageWriter::State {
  AtomicFile file;
  uint64_t start = 0;           ///< of the section being written
  uint64_t end = kFirstSection; ///< of the last section
  std::vector<SectionEntry> entries;

  const std::string &path() const { return file.path(); }
};

PackageWriter::PackageWriter(std::unique_ptr<State> state) : state(std::move(state)) {}
PackageWriter::PackageWriter(PackageWriter &&) noexcept = default;
PackageWriter::~PackageWriter() = default;

Result<PackageWriter> PackageWriter::create(const std::string &path) {
  QUERN_ASSIGN(AtomicFile file, AtomicFile::create(path));
  return PackageWriter(std::make_unique<State>(std::move(file)));
}

Status PackageWriter::writeAt(uint64_t offset, std::span<const uint8_t> bytes) {
  return state->file.writeAt(offset, bytes);
}

Status PackageWriter::begin(std::string_view name) {
  SectionEntry entry{};
  if (name.empty() || name.size() >= sizeof entry.name)
    return fail(state->path() + ": section name '" + std::string(name) + "' must have 1 to 47 characters");
  if (state->entries.size() == kMaxSections)
    return fail(state->path() + ": more than " + std::to_string(kMaxSections) + " sections");
  for (const SectionEntry &other : state->entries)
    if (name == other.name)
      return fail(state->path() + ": section '" + std::string(name) + "' added twice");
  std::memcpy(entry.name, name.data(), name.size());
  state->start = entry.offset = roundUp(state->end);
  state->entries.push_back(entry);
  return {};
}

void PackageWriter::end(uint64_t size, const Hasher &hasher) {
  Hash128 hash = hasher.digest();
  SectionEntry &entry = state->entries.back();
  entry.size = size;
  entry.hash[0] = hash.low;
  entry.hash[1] = hash.high;
  state->end = entry.offset + size;
}

Status PackageWriter::addSection(std::string_view name, std::span<const uint8_t> bytes) {
  return addStream(name, [bytes](Stream &stream) { return stream.write(bytes); });
}

Status PackageWriter::addSection(std::string_view name, std::string_view text) {
  return addSection(name, std::span(reinterpret_cast<const uint8_t *>(text.data()), text.size()));
}

Status PackageWriter::Stream::write(std::span<const uint8_t> bytes) {
  QUERN_TRY(writer.writeAt(writer.state->start + size, bytes));
  hasher.update(bytes);
  size += bytes.size();
  return {};
}

Status PackageWriter::addStream(std::string_view name, const std::function<Status(Stream &)> &fill) {
  QUERN_TRY(begin(name));
  Hasher hasher;
  Stream stream(*this, hasher);
  QUERN_TRY(fill(stream));
  end(stream.size, hasher);
  return {};
}

Status PackageWriter::Region::writeAt(uint64_t offset, std::span<const uint8_t> bytes) {
  if (offset > size || bytes.size() > size - offset)
    return fail(writer.state->path() + ": write of " + std::to_string(bytes.size()) + " bytes at " +
                std::to_string(offset) + " is outside its section of " + std::to_string(size) + " bytes");
  return writer.writeAt(writer.state->start + offset, bytes);
}

Status PackageWriter::hashBack(uint64_t size, Hasher &hasher) {
  std::vector<uint8_t> buffer(size_t(1) << 20);
  for (uint64_t done = 0; done < size;) {
    size_t want = size_t(std::min<uint64_t>(buffer.size(), size - done));
    std::span<uint8_t> part(buffer.data(), want);
    QUERN_TRY(state->file.readAt(state->start + done, part));
    hasher.update(part);
    done += want;
  }
  return {};
}

Status PackageWriter::addRegion(std::string_view name, uint64_t size, const std::function<Status(Region &)> &fill) {
  QUERN_TRY(begin(name));
  QUERN_TRY(state->file.resize(state->start + size));
  Region region(*this, size);
  QUERN_TRY(fill(region));
  Hasher hasher;
  QUERN_TRY(hashBack(size, hasher));
  end(size, hasher);
  return {};
}

Status PackageWriter::finish() {
  std::span<const uint8_t> table(reinterpret_cast<const uint8_t *>(state->entries.data()),
                                 state->entries.size() * sizeof(SectionEntry));
  Header header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  header.formatVersion = kFormatVersion;
  header.sectionCount = uint32_t(state->entries.size());
  header.fileSize = state->end;
  header.tableHash = hash64(table);
  QUERN_TRY(writeAt(0, {reinterpret_cast<const uint8_t *>(&header), sizeof header}));
  QUERN_TRY(writeAt(sizeof header, table));
  QUERN_TRY(state->file.resize(state->end));
  return state->file.finish();
}

} // namespace quern::package
