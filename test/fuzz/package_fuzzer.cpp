// Damaged packages must end in an error or be harmless. Random bytes never match a hash, so besides the bytes as they
// are the fuzzer tries them as a package whose hashes are put right, and as changes to a good manifest, to a good
// device's program and to good tokenizer tables. The first byte chooses.
#include "quern/Package/PackageFormat.h"
#include "quern/Package/TokenizerBuilder.h"
#include "quern/Runtime/Chat.h"
#include "quern/Runtime/DeviceProgram.h"
#include "quern/Runtime/Hash.h"
#include "quern/Runtime/Manifest.h"
#include "quern/Runtime/PackageReader.h"
#include "quern/Runtime/Tokenizer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

using namespace quern;

namespace {

using Bytes = std::span<const uint8_t>;

std::string_view textOf(Bytes bytes) { return {reinterpret_cast<const char *>(bytes.data()), bytes.size()}; }

void readPackage(Bytes file) {
  auto sections = package::readSections(file, "fuzz");
  if (!sections)
    return;
  volatile uint8_t sink = 0;
  for (const package::Section &section : *sections)
    if (!section.bytes.empty())
      sink = sink + section.bytes.front() + section.bytes.back();
}

/// The bytes as a package with right magic, version, size and hashes, as far as the table lets that be.
void readRepaired(Bytes bytes) {
  std::vector<uint8_t> file(bytes.begin(), bytes.end());
  file.resize(std::max<size_t>(file.size(), 3 * package::kSectionAlignment));
  package::Header header;
  std::memcpy(&header, file.data(), sizeof header);
  std::memcpy(header.magic, package::kMagic, sizeof header.magic);
  header.formatVersion = package::kFormatVersion;
  header.sectionCount %= 5;
  header.fileSize = file.size();
  uint8_t *table = file.data() + sizeof header;
  for (uint32_t i = 0; i < header.sectionCount; ++i) {
    package::SectionEntry entry;
    std::memcpy(&entry, table + i * sizeof entry, sizeof entry);
    if (entry.offset < file.size() && entry.size <= file.size() - entry.offset) {
      Hash128 hash = hash128({file.data() + entry.offset, entry.size});
      entry.hash[0] = hash.low;
      entry.hash[1] = hash.high;
    }
    std::memcpy(table + i * sizeof entry, &entry, sizeof entry);
  }
  header.tableHash = hash64({table, header.sectionCount * sizeof(package::SectionEntry)});
  std::memcpy(file.data(), &header, sizeof header);
  readPackage(file);
}

/// `base` with changes of three bytes each: where (two bytes, little-endian) and what.
template <typename Container> Container changed(const Container &base, Bytes changes) {
  Container out = base;
  for (; changes.size() >= 3; changes = changes.subspan(3))
    out[(changes[0] | size_t(changes[1]) << 8) % out.size()] = typename Container::value_type(changes[2]);
  return out;
}

const std::string &goodManifest() {
  static const std::string text = [] {
    Manifest manifest;
    manifest.model = {"language_model", "qwen2", "fuzz", 1, 8, 1, 1, 8, 8, 300, 512, 0};
    manifest.sizes = {"tokens", "outputs"};
    manifest.inputs = {{"token_ids", "i32", {{-1, "tokens"}}}};
    manifest.outputs = {{"logits", "f32", {{-1, "outputs"}, {300, ""}}}};
    manifest.arena = {1, 1, {1, 1}};
    manifest.cache.bytesPerPosition = 32;
    manifest.code = {{"x86-64", "code.x86-64", {"sse2"}, {{"step", 0}}}};
    manifest.devices = {{"nvptx:sm_80", "cuda", "device/x", "program/x", {{"80", "cubin/x"}}}};
    manifest.generation = {{"temperature", 0.5}};
    return printManifest(manifest);
  }();
  return text;
}

void readManifest(std::string_view text) {
  if (auto manifest = parseManifest(text, "fuzz"))
    if (!parseManifest(printManifest(*manifest), "fuzz"))
      std::abort(); // what was accepted must print to something that is accepted
}

/// What was accepted must print to something that is accepted, and its addresses must lie where they should.
void readProgram(std::string_view text) {
  static const Manifest manifest = *parseManifest(goodManifest(), "fuzz");
  constexpr uint64_t kWeightsBytes = 1000;
  auto program = parseDeviceProgram(text, manifest, kWeightsBytes, "fuzz");
  if (!program)
    return;
  if (!parseDeviceProgram(printDeviceProgram(*program), manifest, kWeightsBytes, "fuzz"))
    std::abort();
  const int64_t sizes[] = {program->mostTokens(), 1};
  for (const LaunchPlan &plan : program->plans)
    for (const Launch &launch : plan.launches)
      for (const LaunchArgument &argument : launch.arguments)
        if (argument.place.at(sizes) > program->arena.at(sizes))
          std::abort();
}

const std::string &goodProgram() {
  static const std::string text = [] {
    using Kind = LaunchArgument::Kind;
    Launch launch;
    launch.kernel = "k";
    launch.threads = 32;
    launch.grid[0] = {{0, {1, 0}}, 8};
    launch.arguments = {{Kind::Weights, 999, 0, {}}, {Kind::Arena, 0, 0, {8, {16, 0}}}, {Kind::Size, 0, 1, {}}};
    DeviceProgram program;
    program.arena = {64, {16, 4}};
    program.plans = {{1, 1, {launch}}, {2, 64, {launch}}};
    return printDeviceProgram(program);
  }();
  return text;
}

const std::vector<uint8_t> &goodTables() {
  static const std::vector<uint8_t> tables = [] {
    TokenizerSource source;
    source.model = "gpt2";
    source.pre = "llama-bpe";
    for (int byte = 0; byte < 256; ++byte) {
      bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      int point = printable ? byte : 0x100 + byte - (byte > 160 ? 106 : byte > 126 ? 94 : 0);
      std::string text;
      if (point >= 0x80)
        text = {char(0xC0 | point >> 6), char(0x80 | (point & 0x3F))};
      else
        text = {char(point)};
      source.tokens.push_back(text);
    }
    for (const char *token : {"ab", "abab", "<|x|>"})
      source.tokens.push_back(token);
    source.tokenTypes.assign(source.tokens.size(), 1);
    source.tokenTypes.back() = 3;
    source.merges = {"a b", "ab ab"};
    source.bos = int64_t(source.tokens.size()) - 1;
    auto image = buildTokenizer(source);
    if (!image)
      std::abort();
    return image->bytes;
  }();
  return tables;
}

void readTables(Bytes tables) {
  auto tokenizer = Tokenizer::open(tables, "fuzz");
  if (!tokenizer)
    return;
  auto ids = tokenizer->encode("abababc <|x|> 12345\n\n  e\xCC\x81 \xF0\x9F\xA6\x99", Specials::All, true);
  if (!ids)
    std::abort(); // the text is valid
  std::string out;
  TextStream stream;
  for (int32_t token : *ids)
    stream.push(tokenizer->bytes(token), out);
  stream.finish(out);
  tokenizer->find("<|x|>");
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  Bytes bytes(data + 1, size - 1);
  switch (data[0] % 8) {
  case 0:
    readPackage(bytes);
    break;
  case 1:
    readRepaired(bytes);
    break;
  case 2:
    readManifest(textOf(bytes));
    break;
  case 3:
    readManifest(changed(goodManifest(), bytes));
    break;
  case 4:
    readTables(changed(goodTables(), bytes));
    break;
  case 5:
    recogniseChatTemplate(textOf(bytes));
    break;
  case 6:
    readProgram(textOf(bytes));
    break;
  case 7:
    readProgram(changed(goodProgram(), bytes));
    break;
  }
  return 0;
}
