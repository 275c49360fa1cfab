// quern-format-docs FOLDER: prints the page of all format files of a folder, as Markdown: a table of all, then for each
// its comment, formula, the use of each byte, and the file itself.
#include "dialects/DQ/DQ.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <set>

using namespace quern;
using formats::FormatSpec;
using formats::PackedInts;
using formats::Scale;
using llvm::raw_ostream;

namespace {

struct FormatFile {
  std::string comment, text;
  FormatSpec spec;
};

/// What lies in each byte of a block, as words in the order of their bits.
using ByteUses = std::vector<std::set<std::pair<unsigned, std::string>>>;

void addInts(ByteUses &uses, const PackedInts &ints, const std::string &name) {
  unsigned low = 0;
  for (const formats::Plane &plane : ints.planes) {
    std::string bits = plane.bits == 1 ? "bit " + std::to_string(low)
                                       : "bits " + std::to_string(low) + "-" + std::to_string(low + plane.bits - 1);
    bool whole = plane.bits == ints.bits();
    for (uint16_t byte : plane.byte)
      uses[byte].insert({low, whole ? name + "s" : bits + " of the " + name + "s"});
    low += plane.bits;
  }
}

unsigned width(formats::ScaleKind kind) {
  return kind == formats::ScaleKind::F32 ? 4 : kind == formats::ScaleKind::E8M0 ? 1 : 2;
}

void addScale(ByteUses &uses, const Scale &scale, unsigned groups, const std::string &name) {
  for (unsigned j = 0; j < (scale.sub ? 1 : groups); ++j)
    for (unsigned byte = 0; byte < width(scale.kind); ++byte)
      uses[scale.byte + j * scale.stride + byte].insert({0, name});
  if (scale.sub)
    addInts(uses, *scale.sub, name + " factor");
}

void printBytes(const FormatSpec &spec, raw_ostream &os) {
  ByteUses uses(spec.bytes);
  addInts(uses, spec.codes, "code");
  addScale(uses, spec.scale, spec.groups(), "scale");
  if (spec.minimum)
    addScale(uses, *spec.minimum, spec.groups(), "minimum");
  os << "| bytes | hold |\n|---|---|\n";
  for (size_t first = 0, end; first < uses.size(); first = end) {
    for (end = first + 1; end < uses.size() && uses[end] == uses[first];)
      ++end;
    os << "| " << first;
    if (end > first + 1)
      os << "-" << end - 1;
    os << " | ";
    llvm::interleaveComma(uses[first], os, [&](const auto &use) { os << use.second; });
    os << (uses[first].empty() ? "nothing |\n" : " |\n");
  }
}

const char *kindName(formats::ScaleKind kind) {
  static constexpr const char *names[] = {"f16", "bf16", "f32", "e8m0"};
  return names[int(kind)];
}

/// "f16, times 6 bits less 32".
std::string describe(const Scale &scale) {
  std::string text = kindName(scale.kind);
  if (!scale.sub)
    return text;
  text += scale.sub->isSigned ? ", times signed " : ", times ";
  text += std::to_string(scale.sub->bits()) + " bits";
  if (scale.sub->offset)
    text += " less " + std::to_string(scale.sub->offset);
  return text;
}

std::string describeCodes(const FormatSpec &spec) {
  std::string text = std::string(spec.codes.isSigned ? "signed " : "") + std::to_string(spec.codes.bits()) + " bits";
  if (spec.codes.offset)
    text += " less " + std::to_string(spec.codes.offset);
  return spec.table.empty() ? text : text + ", table";
}

std::string describeMinimum(const FormatSpec &spec) {
  if (!spec.minimum)
    return "none";
  return describe(*spec.minimum) + (spec.minimumAdded ? ", added" : ", subtracted");
}

std::string formula(const FormatSpec &spec) {
  std::string group = spec.groups() > 1 ? "[g]" : "", text = "w[i] = ";
  text += spec.scale.sub ? "(scale * factor" + group + ")" : "scale" + group;
  if (spec.unit != 1.0f)
    llvm::raw_string_ostream(text) << " * " << llvm::format("%g", double(spec.unit));
  text += !spec.table.empty()     ? " * table[code[i]]"
          : spec.codes.offset     ? " * (code[i] - " + std::to_string(spec.codes.offset) + ")"
                                  : " * code[i]";
  if (spec.minimum) {
    text += spec.minimumAdded ? " + " : " - ";
    text += spec.minimum->sub ? "(minimum * minimumFactor" + group + ")" : "minimum" + group;
  }
  return spec.groups() > 1 ? text + ",  g = i floordiv " + std::to_string(spec.group) : text;
}

void printPage(const std::vector<FormatFile> &files, raw_ostream &os) {
  os << "# Block formats\n\nGenerated from the files in `dialects/DQ/formats` by `quern-format-docs`; do not edit. How "
        "to read and write\nsuch a file: `dialects/DQ/README.md`. In the formulas, each operation rounds to f32; "
        "`code` stands for the stored bits,\n`factor` and `minimumFactor` for a group's small integers less what the "
        "file subtracts from them.\n\n"
        "| format | GGUF id | weights | bytes | bits per weight | group | codes | scale | minimum |\n"
        "|---|---|---|---|---|---|---|---|---|\n";
  for (const auto &[comment, text, spec] : files)
    os << "| " << spec.name << " | " << (spec.ggufType < 0 ? "none" : std::to_string(spec.ggufType)) << " | "
       << spec.block << " | " << spec.bytes << " | " << llvm::format("%g", spec.bitsPerWeight()) << " | " << spec.group
       << " | " << describeCodes(spec) << " | " << describe(spec.scale) << " | " << describeMinimum(spec) << " |\n";
  for (const auto &[comment, text, spec] : files) {
    os << "\n## " << spec.name << "\n\n" << comment << "\n    " << formula(spec) << "\n\n";
    printBytes(spec, os);
    os << "\n```mlir\n" << text << "```\n";
  }
}

/// Reads a file with one format, or reports why not.
std::optional<FormatFile> read(mlir::MLIRContext &context, llvm::StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!buffer)
    return std::nullopt;
  llvm::StringRef text = (*buffer)->getBuffer();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, mlir::ParserConfig(&context), path);
  if (!module || module->getOps<dq::FormatOp>().empty())
    return std::nullopt;
  FormatFile file{"", "", (*module->getOps<dq::FormatOp>().begin()).getFormat().getSpec()};
  for (llvm::StringRef rest = text; rest.consume_front("// ");) {
    auto [line, after] = rest.split('\n');
    file.comment += line.str() + "\n";
    file.text = (rest = after).str();
  }
  return file;
}

} // namespace

int main(int argc, char **argv) {
  mlir::MLIRContext context;
  context.loadDialect<dq::DQDialect>();
  std::vector<FormatFile> files;
  std::error_code error;
  std::set<std::string> paths;
  for (llvm::sys::fs::directory_iterator at(argc > 1 ? argv[1] : "", error), end; !error && at != end;
       at.increment(error))
    if (llvm::sys::path::extension(at->path()) == ".mlir")
      paths.insert(at->path());
  for (const std::string &path : paths) {
    auto file = read(context, path);
    if (!file) {
      llvm::errs() << "quern-format-docs: '" << path << "' is not a file with a format\n";
      return 1;
    }
    files.push_back(*std::move(file));
  }
  if (files.empty()) {
    llvm::errs() << "usage: quern-format-docs FOLDER, where FOLDER holds format files\n";
    return 1;
  }
  printPage(files, llvm::outs());
  return 0;
}
