#include "Assembler.h"

#include "quern/Codegen/TemporaryFile.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"

#include <cstdlib>

using namespace quern;
using codegen::TemporaryFile;

Result<std::string> pipelines::findAssembler(const std::string &chosen) {
  if (chosen == "none")
    return std::string();
  if (!chosen.empty()) {
    auto named = llvm::sys::findProgramByName(chosen); // of a path it does not look whether it is there
    if (!named || !llvm::sys::fs::can_execute(*named))
      return fail("--ptxas: '" + chosen + "' is no program that can be run; name NVIDIA's assembler, or make a "
                  "package without machine code by --ptxas none");
    return *named;
  }
  if (auto found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  if (const char *home = std::getenv("CUDA_HOME"); home && *home) {
    llvm::SmallString<128> folder(home);
    llvm::sys::path::append(folder, "bin");
    if (auto found = llvm::sys::findProgramByName("ptxas", {folder.str()}))
      return *found;
  }
  return std::string();
}

/// What the program said, as part of a sentence.
static std::string joinLines(llvm::StringRef log) {
  constexpr size_t kMost = 2000;
  llvm::SmallVector<llvm::StringRef> lines;
  log.take_front(kMost).split(lines, '\n', -1, /*KeepEmpty=*/false);
  return llvm::join(lines, "; ");
}

Result<std::string> pipelines::assemble(const std::string &program, const std::string &ptx,
                                        const std::string &capability) {
  QUERN_ASSIGN(TemporaryFile input, TemporaryFile::create("ptx"));
  QUERN_ASSIGN(TemporaryFile output, TemporaryFile::create("cubin"));
  QUERN_ASSIGN(TemporaryFile log, TemporaryFile::create("log"));
  QUERN_TRY(input.write(ptx));
  std::string chip = "-arch=sm_" + capability, problem;
  llvm::StringRef arguments[] = {program, chip, input.path, "-o", output.path};
  std::optional<llvm::StringRef> streams[] = {llvm::StringRef(), log.path.str(), log.path.str()};
  int status = llvm::sys::ExecuteAndWait(program, arguments, /*Env=*/std::nullopt, streams, 0, 0, &problem);
  QUERN_ASSIGN(std::string said, log.read());
  QUERN_ASSIGN(std::string machineCode, output.read());
  if (status == 0 && !machineCode.empty())
    return machineCode;
  std::string why = !problem.empty() ? problem : "it ends with status " + std::to_string(status);
  return fail("'" + program + "' makes no machine code for sm_" + capability + ": " + why +
              (said.empty() ? "" : "; it says: " + joinLines(said)));
}
