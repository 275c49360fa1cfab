// The registry of formats: every embedded file is there, with the sizes that GGUF prescribes; user files add to it.
#include "AllFormats.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

#include <gtest/gtest.h>

using namespace quern;

namespace {
/// A file that is gone after the test.
struct TemporaryFile {
  explicit TemporaryFile(llvm::StringRef text) {
    int descriptor;
    if (!llvm::sys::fs::createTemporaryFile("format", "mlir", descriptor, path))
      llvm::raw_fd_ostream(descriptor, /*shouldClose=*/true) << text;
  }
  ~TemporaryFile() { llvm::sys::fs::remove(path); }
  llvm::SmallString<128> path;
};

constexpr char kThreeBits[] = R"(
dq.format <q3_plain, block = 32, bytes = 14, group = 32,
  codes = [2 bits at 2 + i mod 8 shift (i floordiv 8) * 2, 1 bits at 10 + i mod 4 shift i floordiv 4] less 4,
  scale = f16 at 0>
)";

std::string addError(AllFormats &formats, llvm::StringRef text) {
  TemporaryFile file(text);
  mlir::ScopedDiagnosticHandler quiet(&formats.context, [](mlir::Diagnostic &) { return mlir::success(); });
  Status added = formats.registry().addFile(file.path);
  return added ? "" : added.error().message;
}
} // namespace

TEST(FormatRegistry, EveryGgufFormatHasItsSizes) {
  struct {
    const char *name;
    int id;
    unsigned block, bytes;
  } expected[] = {{"q4_0", 2, 32, 18},    {"q4_1", 3, 32, 20},    {"q5_0", 6, 32, 22},     {"q5_1", 7, 32, 24},
                  {"q8_0", 8, 32, 34},    {"q2_K", 10, 256, 84},  {"q3_K", 11, 256, 110},  {"q4_K", 12, 256, 144},
                  {"q5_K", 13, 256, 176}, {"q6_K", 14, 256, 210}, {"iq4_nl", 20, 32, 18},  {"iq4_xs", 23, 256, 136},
                  {"mxfp4", 39, 32, 17},  {"i4_f32", -1, 32, 20}, {"i5_f32", -1, 32, 24},  {"i8_f32", -1, 32, 36},
                  {"mxfp6_e2m3", -1, 32, 25}, {"mxfp6_e3m2", -1, 32, 25}};
  AllFormats formats;
  EXPECT_EQ(formats.list().size(), std::size(expected));
  for (const auto &want : expected) {
    dq::FormatAttr format = formats.registry().lookup(want.name);
    ASSERT_TRUE(format) << want.name;
    EXPECT_EQ(format.getGgufType(), want.id);
    EXPECT_EQ(format.getBlock(), want.block);
    EXPECT_EQ(format.getBytes(), want.bytes);
  }
}

// Every bit of these blocks means something, so a plane written wrong would leave a gap here.
TEST(FormatRegistry, EveryBitOfEveryBlockIsUsed) {
  AllFormats formats;
  auto bits = [](const formats::PackedInts &ints) {
    size_t sum = 0;
    for (const formats::Plane &plane : ints.planes)
      sum += plane.bits * plane.byte.size();
    return sum;
  };
  for (const formats::FormatSpec *spec : formats.list()) {
    using formats::ScaleKind;
    ScaleKind kind = spec->scale.kind;
    size_t scale = kind == ScaleKind::E8M0 ? 8 : kind == ScaleKind::F32 ? 32 : 16;
    size_t used = bits(spec->codes) + scale;
    if (spec->scale.sub)
      used += bits(*spec->scale.sub);
    if (spec->minimum)
      used += 16 + (spec->minimum->sub ? bits(*spec->minimum->sub) : 0);
    EXPECT_EQ(used, spec->bytes * 8) << spec->name; // F5: no bit is used twice
  }
}

TEST(FormatRegistry, UnknownNamesGiveNothing) {
  AllFormats formats;
  EXPECT_FALSE(formats.registry().lookup("q9_9"));
}

TEST(FormatRegistry, AUserFileAddsAFormat) {
  AllFormats formats;
  EXPECT_EQ(addError(formats, kThreeBits), "");
  EXPECT_EQ(formats.get("q3_plain").bitsPerWeight(), 3.5);
}

TEST(FormatRegistry, RefusedFilesAddNothing) {
  AllFormats formats;
  size_t before = formats.list().size();
  auto named = [](llvm::StringRef name, llvm::StringRef gguf) {
    return ("dq.format <" + name + gguf + ", block = 1, bytes = 3, group = 1, codes = signed [8 bits at 0], "
            "scale = f16 at 1>").str();
  };
  EXPECT_NE(addError(formats, named("q8_0", "")).find("already a format called 'q8_0'"), std::string::npos);
  EXPECT_NE(addError(formats, named("mine", ", gguf = 8")).find("GGUF type id 8 of format 'mine' belongs to 'q8_0'"),
            std::string::npos);
  EXPECT_NE(addError(formats, named("a", "") + "\n" + named("a", "")).find("already a format"), std::string::npos);
  EXPECT_NE(addError(formats, "dq.format <broken").find("not a format file"), std::string::npos);
  EXPECT_NE(addError(formats, "// nothing").find("declares no format"), std::string::npos);
  EXPECT_NE(addError(formats, "module {}\nmodule {}").find("holds only dq.format ops"), std::string::npos);
  EXPECT_NE(formats.registry().addFile("/no/such/file").error().message.find("No such file"), std::string::npos);
  EXPECT_EQ(formats.list().size(), before);
}
