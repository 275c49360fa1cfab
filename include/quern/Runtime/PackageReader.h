// Maps a .quern package (quern/Package/PackageFormat.h) read-only and checks it before anything in it is used: magic,
// version, sizes, the hash of the table, bounds, order and alignment of sections, and the hash of every section but the
// weights, which are checked on demand.
#ifndef QUERN_RUNTIME_PACKAGEREADER_H
#define QUERN_RUNTIME_PACKAGEREADER_H

#include "quern/Package/PackageFormat.h"
#include "quern/Support/Result.h"

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern::package {

struct Section {
  std::string name;
  uint64_t offset; ///< from the start of the file
  std::span<const uint8_t> bytes;
  uint64_t hash[2];
};

/// The bytes of a section, or of none, as text.
inline std::string_view textOf(const Section *section) {
  return section ? std::string_view(reinterpret_cast<const char *>(section->bytes.data()), section->bytes.size())
                 : std::string_view();
}

/// Told how many of how many bytes are done; returns false to stop.
using Progress = std::function<bool(uint64_t done, uint64_t total)>;

/// Checks a whole package that lies in memory; the sections point into `file`. `name` is for messages.
Result<std::vector<Section>> readSections(std::span<const uint8_t> file, const std::string &name);

class PackageReader {
public:
  static Result<PackageReader> open(const std::string &path);
  PackageReader(PackageReader &&other) noexcept;
  PackageReader &operator=(PackageReader &&) = delete;
  ~PackageReader();

  const std::string &path() const { return filePath; }
  int descriptor() const { return fd; } ///< open for reading while the reader lives
  uint64_t fileSize() const { return file.size(); }
  const std::vector<Section> &sections() const { return table; }
  /// Null if there is none of that name.
  const Section *find(std::string_view name) const;
  /// Fails naming the package and the section.
  Result<const Section *> require(std::string_view name) const;

  /// Compares the hash of the weights; fails also if `progress` stops it.
  Status verifyWeights(const Progress &progress = {}) const;

private:
  PackageReader() = default;
  std::string filePath;
  int fd = -1;
  std::span<const uint8_t> file;
  std::vector<Section> table;
};

} // namespace quern::package

#endif // QUERN_RUNTIME_PACKAGEREADER_H
