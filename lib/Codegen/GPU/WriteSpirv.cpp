// The SPIR-V of a process's second module and later ones may be invalid with LLVM 22: `spirv-val` found ids that
// were defined twice. By its source, blocks are numbered in a table that outlives the module and is looked up by
// the addresses of functions, so that a later function at the address of an earlier one gets numbers of that one.
// So each module is written in a process of its own, which never wrote another.
#include "WriteSpirv.h"

#include "llvm/Support/CodeGen.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace quern;

// libLLVM exports this, but no header declares it (llvm/lib/Target/SPIRV/SPIRVAPI.cpp).
extern "C" bool SPIRVTranslate(llvm::Module *module, std::string &binary, std::string &message,
                               const std::vector<std::string> &extensions, llvm::CodeGenOptLevel level,
                               llvm::Triple triple);

namespace {
/// Before what the process writes. Its exit status may be lost: where SIGCHLD is ignored, nobody can wait for it.
struct Header {
  uint64_t bytes; ///< behind the header
  bool done;      ///< whether they are the binary, or the message
};
} // namespace

static bool writeAll(int to, const void *bytes, size_t count) {
  for (auto *at = static_cast<const char *>(bytes); count > 0;) {
    ssize_t written = ::write(to, at, count);
    if (written < 0 && errno != EINTR)
      return false;
    at += std::max<ssize_t>(written, 0);
    count -= size_t(std::max<ssize_t>(written, 0));
  }
  return true;
}

/// Does not return.
[[noreturn]] static void writeInChild(llvm::Module &module, int to) {
  std::string binary, message;
  bool done = SPIRVTranslate(&module, binary, message, /*extensions=*/{}, llvm::CodeGenOptLevel::None,
                             module.getTargetTriple());
  const std::string &rest = done ? binary : message;
  Header header{rest.size(), done};
  ::_exit(writeAll(to, &header, sizeof header) && writeAll(to, rest.data(), rest.size()) ? 0 : 1);
}

static std::string readAll(int from) {
  std::string all;
  char part[65536];
  while (true) {
    ssize_t count = ::read(from, part, sizeof part);
    if (count > 0)
      all.append(part, size_t(count));
    else if (count == 0 || errno != EINTR)
      return all;
  }
}

Result<std::string> codegen::writeSpirv(llvm::Module &module) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return fail(std::string("there is no pipe to a process for it: ") + std::strerror(errno));
  pid_t child = ::fork();
  if (child == 0)
    writeInChild(module, ends[1]);
  int error = errno;
  ::close(ends[1]);
  std::string written = child < 0 ? "" : readAll(ends[0]);
  ::close(ends[0]);
  if (child < 0)
    return fail(std::string("there is no process for it: ") + std::strerror(error));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR)
    ;
  Header header{};
  std::memcpy(&header, written.data(), std::min(written.size(), sizeof header));
  if (written.size() < sizeof header || written.size() - sizeof header != header.bytes)
    return fail(WIFSIGNALED(status) ? "its process has ended with signal " + std::to_string(WTERMSIG(status))
                                    : "its process has failed");
  written.erase(0, sizeof header);
  return header.done ? Result<std::string>(std::move(written)) : fail(std::move(written));
}
