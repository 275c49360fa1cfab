#include "quern/Codegen/TemporaryFile.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

using namespace quern;
using namespace quern::codegen;

Result<TemporaryFile> TemporaryFile::create(llvm::StringRef suffix) {
  TemporaryFile file;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("quern", suffix, file.path))
    return fail("cannot create a temporary file: " + error.message() + "; set TMPDIR to a folder that can be written");
  return file;
}

TemporaryFile::~TemporaryFile() {
  if (!path.empty())
    llvm::sys::fs::remove(path);
}

Status TemporaryFile::write(llvm::StringRef bytes) const {
  std::error_code error;
  llvm::raw_fd_ostream out(path, error);
  if (!error) {
    out << bytes;
    out.close();
    error = out.error();
    out.clear_error(); // which would end the process
  }
  if (error)
    return fail("cannot write '" + path.str().str() + "': " + error.message() +
                "; set TMPDIR to a folder with room");
  return {};
}

Result<std::string> TemporaryFile::read() const {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return fail("cannot read '" + path.str().str() + "' back: " + buffer.getError().message());
  return (*buffer)->getBuffer().str();
}
