// Writes a .quern package (quern/Package/PackageFormat.h) section by section, in the order given, never holding more
// than the caller's buffers in memory. The file appears under its name only when it is complete (written beside it as
// PATH.tmp.PID, synced, renamed). The same sections give the same bytes.
#ifndef QUERN_PACKAGE_PACKAGEWRITER_H
#define QUERN_PACKAGE_PACKAGEWRITER_H

#include "quern/Support/Result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace quern {
class Hasher;
}

namespace quern::package {

class PackageWriter {
public:
  /// Appends to one section.
  class Stream {
  public:
    Status write(std::span<const uint8_t> bytes);
    uint64_t written() const { return size; }

  private:
    friend class PackageWriter;
    Stream(PackageWriter &writer, Hasher &hasher) : writer(writer), hasher(hasher) {}
    PackageWriter &writer;
    Hasher &hasher;
    uint64_t size = 0;
  };

  /// Writes anywhere inside one section of known size; several threads may do so at once. Unwritten bytes are zero.
  class Region {
  public:
    Status writeAt(uint64_t offset, std::span<const uint8_t> bytes);

  private:
    friend class PackageWriter;
    Region(PackageWriter &writer, uint64_t size) : writer(writer), size(size) {}
    PackageWriter &writer;
    uint64_t size;
  };

  /// Creates the temporary file beside `path`.
  static Result<PackageWriter> create(const std::string &path);
  PackageWriter(PackageWriter &&) noexcept;
  PackageWriter &operator=(PackageWriter &&) = delete;
  ~PackageWriter(); ///< removes the temporary file unless `finish` succeeded

  Status addSection(std::string_view name, std::span<const uint8_t> bytes);
  Status addSection(std::string_view name, std::string_view text);
  /// The section is as long as what `fill` writes.
  Status addStream(std::string_view name, const std::function<Status(Stream &)> &fill);
  /// The section is `size` bytes; hashed by reading it back after `fill`.
  Status addRegion(std::string_view name, uint64_t size, const std::function<Status(Region &)> &fill);

  /// Writes the table, syncs and renames.
  Status finish();

private:
  struct State;
  explicit PackageWriter(std::unique_ptr<State> state);
  Status begin(std::string_view name);
  void end(uint64_t size, const Hasher &hasher);
  Status hashBack(uint64_t size, Hasher &hasher);
  Status writeAt(uint64_t offset, std::span<const uint8_t> bytes);
  std::unique_ptr<State> state;
};

} // namespace quern::package

#endif // QUERN_PACKAGE_PACKAGEWRITER_H
