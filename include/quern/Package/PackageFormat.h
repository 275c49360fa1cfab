// Layout of a .quern package on disk, shared by the compiler that writes it and the runtime that maps it.
// `docs/package-format.md` describes the same in prose, and the JSON manifest with it.
//
// A package is a header, a table of sections, and the sections, each starting on a multiple of 4096 bytes.
// All integers are little-endian.
#ifndef QUERN_PACKAGE_PACKAGEFORMAT_H
#define QUERN_PACKAGE_PACKAGEFORMAT_H

#include <cstdint>

namespace quern::package {

inline constexpr char kMagic[8] = {'Q', 'U', 'E', 'R', 'N', 'P', 'K', 'G'};
inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint64_t kSectionAlignment = 4096;
inline constexpr uint32_t kMaxSections = 64;

/// First bytes of the file. `tableHash` is XXH3-64 of the `sectionCount` SectionEntry records that follow.
struct Header {
  char magic[8];
  uint32_t formatVersion;
  uint32_t sectionCount;
  uint64_t fileSize;
  uint64_t tableHash;
};
static_assert(sizeof(Header) == 32);

/// One section. `hash` is XXH3-128 of its bytes, low 64 bits first; the name is padded with zeros.
struct SectionEntry {
  char name[48];
  uint64_t offset;
  uint64_t size;
  uint64_t hash[2];
};
static_assert(sizeof(SectionEntry) == 80);

// Names of sections. Code sections are called "code." and the name of their target; the module and the program of a
// device, "device/" and "program/" and the name of its target.
inline constexpr char kManifest[] = "manifest";   ///< JSON, see docs/package-format.md
inline constexpr char kPlan[] = "plan";           ///< JSON: tensors, kernels and memory plan; never read by the runtime
inline constexpr char kTokenizer[] = "tokenizer"; ///< mapped tables, see TokenizerTables.h
inline constexpr char kTemplate[] = "template";   ///< chat template as the source wrote it (UTF-8)
inline constexpr char kWeights[] = "weights";     ///< packed weights; verified on demand only
inline constexpr char kDeviceWeights[] = "weights.gpu"; ///< weights in the layout of devices; verified on demand only
inline constexpr char kCodePrefix[] = "code.";
inline constexpr char kDevicePrefix[] = "device/";
inline constexpr char kProgramPrefix[] = "program/"; ///< JSON, see DeviceProgram.h
inline constexpr char kCubinPrefix[] = "cubin/";

} // namespace quern::package

#endif // QUERN_PACKAGE_PACKAGEFORMAT_H
