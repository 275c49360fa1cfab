// LLVM 22 numbers a module's basic blocks in a table that outlives the module and is looked up by the addresses of
// functions. Where a later module of the process has a function at the address of an earlier one, its blocks get
// numbers of that one, which other values of it may have too: the SPIR-V is then invalid. So each module is written in
// a process of its own, which never wrote another.
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

/// Does not return. What is written is the binary, or the message with an exit status that is not 0.
[[noreturn]] static void writeInChild(llvm::Module &module, int to) {
  std::string binary, message;
  bool done = SPIRVTranslate(&module, binary, message, /*extensions=*/{}, llvm::CodeGenOptLevel::None,
                             module.getTargetTriple());
  llvm::StringRef rest = done ? binary : message;
  while (!rest.empty()) {
    ssize_t count = ::write(to, rest.data(), rest.size());
    if (count < 0 && errno != EINTR)
      ::_exit(2);
    rest = rest.drop_front(size_t(std::max<ssize_t>(count, 0)));
  }
  ::_exit(done ? 0 : 1);
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
  while (::waitpid(child, &status, 0) < 0)
    if (errno != EINTR)
      return fail(std::string("its process cannot be waited for: ") + std::strerror(errno));
  if (WIFSIGNALED(status))
    return fail("its process has ended with signal " + std::to_string(WTERMSIG(status)));
  if (WEXITSTATUS(status) != 0)
    return fail(written.empty() ? "its process has failed" : std::move(written));
  return written;
}
