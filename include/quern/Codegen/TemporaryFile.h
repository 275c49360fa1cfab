// Files that programs and libraries of other makers read and write for us.
#ifndef QUERN_CODEGEN_TEMPORARYFILE_H
#define QUERN_CODEGEN_TEMPORARYFILE_H

#include "quern/Support/Result.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringRef.h"

namespace quern::codegen {

/// A temporary file, empty at first, removed with the object.
struct TemporaryFile {
  llvm::SmallString<128> path;

  static Result<TemporaryFile> create(llvm::StringRef suffix);
  TemporaryFile() = default;
  TemporaryFile(TemporaryFile &&other) : path(other.path) { other.path.clear(); }
  ~TemporaryFile();

  Status write(llvm::StringRef bytes) const;
  Result<std::string> read() const;
};

} // namespace quern::codegen

#endif // QUERN_CODEGEN_TEMPORARYFILE_H
