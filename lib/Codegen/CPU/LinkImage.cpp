// Object code -> flat image, by lld in process.
#include "quern/Codegen/Image.h"
#include "quern/Codegen/TemporaryFile.h"

#include "lld/Common/Driver.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

LLD_HAS_DRIVER(elf)

using namespace quern;
using namespace quern::codegen;

using Elf = llvm::object::ELF64LEObjectFile;

/// The loaded segments side by side, as they lie in memory.
static Result<std::vector<uint8_t>> flatten(const Elf &file) {
  auto headers = file.getELFFile().program_headers();
  if (!headers)
    return fail("the linked image has no segments: " + llvm::toString(headers.takeError()));
  std::vector<uint8_t> bytes;
  for (const auto &header : *headers) {
    if (header.p_type != llvm::ELF::PT_LOAD)
      continue;
    if (bytes.size() < header.p_vaddr + header.p_memsz)
      bytes.resize(header.p_vaddr + header.p_memsz);
    const uint8_t *from = file.getELFFile().base() + header.p_offset;
    std::copy(from, from + header.p_filesz, bytes.begin() + header.p_vaddr);
  }
  return bytes;
}

/// Refuses dynamic relocations: the image is mapped and called as it is.
static Status checkRelocations(const Elf &file) {
  for (const llvm::object::SectionRef &section : file.sections()) {
    auto name = section.getName();
    if (!name) {
      llvm::consumeError(name.takeError());
      continue;
    }
    if ((*name == ".rela.dyn" || *name == ".rela.plt") && section.getSize() != 0)
      return fail("the code image needs relocations (" + name->str() + "): a kernel refers to something outside it");
  }
  return {};
}

/// The functions of the full symbol table, which the image itself does not carry.
static std::vector<CodeImage::Kernel> listKernels(const Elf &file) {
  std::vector<CodeImage::Kernel> kernels;
  for (const llvm::object::ELFSymbolRef &symbol : file.symbols()) {
    auto name = symbol.getName();
    auto address = symbol.getAddress();
    if (!name || !address) {
      llvm::consumeError(name.takeError());
      llvm::consumeError(address.takeError());
      continue;
    }
    if (symbol.getELFType() == llvm::ELF::STT_FUNC)
      kernels.push_back({name->str(), int64_t(*address), int64_t(symbol.getSize())});
  }
  llvm::sort(kernels, [](const auto &a, const auto &b) { return a.offset < b.offset; });
  return kernels;
}

Result<CodeImage> codegen::linkImage(const std::vector<char> &object) {
  QUERN_ASSIGN(TemporaryFile input, TemporaryFile::create("o"));
  QUERN_ASSIGN(TemporaryFile output, TemporaryFile::create("so"));
  QUERN_TRY(input.write({object.data(), object.size()}));
  std::string messages;
  llvm::raw_string_ostream log(messages);
  const char *arguments[] = {"ld.lld",        "-shared",   "-Bsymbolic",           "--no-undefined", "-z", "text",
                             "-z",            "norelro",   "-z",                   "max-page-size=4096",
                             "--build-id=none", "--hash-style=sysv", "--threads=1", input.path.c_str(), "-o",
                             output.path.c_str()};
  lld::Result linked = lld::lldMain(arguments, log, log, {{lld::Gnu, &lld::elf::link}});
  if (linked.retCode != 0)
    return fail("the kernels do not link into an image: " + messages);

  QUERN_ASSIGN(std::string linkedBytes, output.read());
  auto file = Elf::create(llvm::MemoryBufferRef(linkedBytes, output.path));
  if (!file)
    return fail("the linked image is no ELF file: " + llvm::toString(file.takeError()));
  QUERN_TRY(checkRelocations(*file));
  CodeImage image;
  QUERN_ASSIGN(image.bytes, flatten(*file));
  for (const llvm::object::ELFSymbolRef &symbol : file->getDynamicSymbolIterators()) {
    auto name = symbol.getName();
    auto address = symbol.getAddress();
    if (!name || !address)
      return fail("the linked image has a damaged symbol table");
    if (symbol.getELFType() == llvm::ELF::STT_FUNC)
      image.entries[name->str()] = int64_t(*address);
  }
  image.kernels = listKernels(*file);
  return image;
}
