#include "FakeDevicePackage.h"

#include "quern/Package/PackageFormat.h"
#include "quern/Package/PackageWriter.h"

#include <cstring>
#include <gtest/gtest.h>

namespace quern::test {

using Kind = LaunchArgument::Kind;

// mov rax, [rdi + 40]; mov rax, [rax + 40]; mov dword [rax + 4 * 97], 1.0f; ret: every token is followed by 'a'.
static constexpr uint8_t kCode[] = {0x48, 0x8B, 0x47, 0x28, 0x48, 0x8B, 0x40, 0x28, 0xC7, 0x80,
                                    0x84, 0x01, 0x00, 0x00, 0x00, 0x00, 0x80, 0x3F, 0xC3};

/// A kernel of arguments a0, a1, ..., which are in %rd0, %rd1, ...; %rd9 is the thread's number in the grid's x.
static std::string kernel(const std::string &name, int arguments, const std::string &body) {
  std::string parameters, loads;
  for (int i = 0; i < arguments; ++i) {
    std::string number = std::to_string(i);
    parameters += (i ? ", .param .u64 a" : ".param .u64 a") + number;
    loads += "ld.param.b64 %rd" + number + ", [a" + number + "];\n";
  }
  return ".visible .entry " + name + "(" + parameters +
         ") {\n.reg .pred %p<4>; .reg .b32 %r<20>; .reg .b64 %rd<40>; .reg .b32 %f<4>;\n" + loads +
         "mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mad.lo.s32 %r4, %r1, %r2, %r3;\n"
         "cvt.u64.u32 %rd9, %r4;\n" +
         body + "\nEND: ret;\n}\n";
}

/// %rd20 = the address of 4 bytes or 8 bytes number %rd9 in the array at `base`.
static std::string at(const std::string &base, const std::string &index, int bytes) {
  return "mul.lo.u64 %rd20, " + index + ", " + std::to_string(bytes) + "; add.u64 %rd20, %rd20, " + base + ";\n";
}

/// token_ids, positions, caches: the token goes to its place in the cache.
static std::string storeBody() {
  return at("%rd0", "%rd9", 4) + "ld.global.b32 %r10, [%rd20];\n" + at("%rd1", "%rd9", 4) +
         "ld.global.b32 %r11, [%rd20]; cvt.u64.u32 %rd11, %r11;\n" + at("%rd2", "%rd9", 8) +
         "ld.global.b64 %rd12, [%rd20];\n" + at("%rd12", "%rd11", 4) + "st.global.b32 [%rd20], %r10;\n";
}

static std::string ptx() {
  std::string beyond = "setp.ge.u64 %p1, %rd9, %rd3; @%p1 bra END;\n";
  // positions, caches, sums, rows: the sum of the row's cache up to its position.
  std::string sum = beyond + at("%rd0", "%rd9", 4) + "ld.global.b32 %r11, [%rd20]; cvt.u64.u32 %rd11, %r11;\n" +
                    at("%rd1", "%rd9", 8) + "ld.global.b64 %rd12, [%rd20];\n mov.u64 %rd13, 0; mov.u32 %r12, 0;\n" +
                    "LOOP: " + at("%rd12", "%rd13", 4) +
                    "ld.global.b32 %r13, [%rd20]; add.u32 %r12, %r12, %r13; add.u64 %rd13, %rd13, 1;\n"
                    "setp.le.u64 %p2, %rd13, %rd11; @%p2 bra LOOP;\n" +
                    at("%rd2", "%rd9", 4) + "st.global.b32 [%rd20], %r12;\n";
  // sums, output_rows, logits, vocabulary, weights; a block of y for each output.
  std::string logits = beyond + "mov.u32 %r5, %ctaid.y; cvt.u64.u32 %rd10, %r5;\n" + at("%rd1", "%rd10", 4) +
                       "ld.global.b32 %r11, [%rd20]; cvt.u64.u32 %rd11, %r11;\n" + at("%rd0", "%rd11", 4) +
                       "ld.global.b32 %r12, [%rd20]; and.b32 %r12, %r12, 255;\n" + at("%rd4", "%rd9", 4) +
                       "ld.global.b32 %f1, [%rd20]; mul.lo.u64 %rd14, %rd10, %rd3; add.u64 %rd14, %rd14, %rd9;\n" +
                       at("%rd2", "%rd14", 4) +
                       "setp.eq.u32 %p2, %r4, %r12; selp.b32 %f1, 0f41200000, %f1, %p2; st.global.b32 [%rd20], %f1;\n";
  // sums, output_rows, choices; a block for each output.
  std::string choose = at("%rd1", "%rd9", 4) + "ld.global.b32 %r11, [%rd20]; cvt.u64.u32 %rd11, %r11;\n" +
                       at("%rd0", "%rd11", 4) + "ld.global.b32 %r12, [%rd20]; and.b32 %r12, %r12, 255;\n" +
                       at("%rd2", "%rd9", 4) + "st.global.b32 [%rd20], %r12;\n";
  // choices, draws; a block for each output: top-k and the random number in 64ths are the token.
  std::string draw = at("%rd1", "%rd9", 20) +
                     "ld.global.b32 %f1, [%rd20]; ld.global.b32 %f2, [%rd20+12]; ld.global.b32 %r10, [%rd20+16];\n"
                     "setp.le.f32 %p1, %f1, 0f00000000; @%p1 bra END;\n"
                     "mul.f32 %f2, %f2, 0f42800000; cvt.rzi.s32.f32 %r11, %f2; add.u32 %r10, %r10, %r11;\n"
                     "setp.ge.u32 %p2, %r10, 1000; selp.b32 %r10, 4294967294, %r10, %p2;\n" + // kNotDrawn
                     at("%rd0", "%rd9", 4) +
                     "st.global.b32 [%rd20], %r10;\n";
  // counters; ends in a fault where the last one is not zero.
  std::string count = "atom.global.inc.u32 %r11, [%rd0+8], 0; setp.eq.u32 %p1, %r11, 0; @%p1 bra END; trap;\n";
  return ".version 8.0\n.target sm_80\n.address_size 64\n" + kernel("store_one", 3, storeBody()) +
         kernel("store", 3, storeBody()) + kernel("sum", 4, sum) + kernel("logits", 5, logits) +
         kernel("choose", 3, choose) + kernel("draw", 2, draw) + kernel("count", 1, count);
}

static Launch launch(const char *kernel, const char *name, std::vector<LaunchArgument> arguments, GridDimension x,
                     GridDimension y = {{1, {}}, 1}) {
  Launch out;
  out.kernel = kernel;
  out.op = std::string("test.") + kernel;
  out.name = name;
  out.arguments = std::move(arguments);
  out.grid[0] = std::move(x);
  out.grid[1] = std::move(y);
  out.grid[2] = {{1, {}}, 1};
  out.threads = 4;
  return out;
}

static DeviceProgram program(int64_t vocabulary, int64_t weightsOffset) {
  auto input = [](int64_t index) { return LaunchArgument{Kind::Input, 0, index, {}}; };
  LaunchArgument tokens{Kind::Size, 0, 0, {}}, sums{Kind::Arena, 0, 0, {256, {}}};
  GridDimension rows = {{0, {1, 0}}, 4}, one = {{1, {}}, 1};
  // A block for each token, none of which asks whether it is one.
  Launch store = launch("store", "all", {input(0), input(1), input(2)}, {{0, {1, 0}}, 1});
  Launch storeOne = launch("store_one", "", {input(0), input(1), input(2)}, one);
  store.threads = storeOne.threads = 1;
  Launch never = store; // it would write to address 0
  never.name = "never";
  never.arguments.clear();
  never.when = LaunchCondition{1, kFakeMostTokens + 1, INT64_MAX};
  Launch sum = launch("sum", "rows", {input(1), input(2), sums, tokens}, rows);
  sum.sharedBytes = 64 << 10; // more than a kernel has without asking for it
  Launch logits =
      launch("logits", "output",
             {sums, input(4), LaunchArgument{Kind::Output, 0, 0, {}}, LaunchArgument{Kind::Constant, vocabulary, 0, {}},
              LaunchArgument{Kind::Weights, weightsOffset, 0, {}}},
             {{vocabulary, {}}, 4}, {{0, {0, 1}}, 1});
  DeviceProgram out;
  out.arena = {256, {64, 0}};
  out.plans = {{1, 1, {storeOne, sum, logits}}, {2, kFakeMostTokens, {store, never, sum, logits}}};
  return out;
}

void FakeDevicePackage::chooseTokens() {
  for (LaunchPlan &plan : program.plans) {
    const std::vector<LaunchArgument> &logits = plan.launches.back().arguments;
    Launch choose = launch("choose", "", {logits[0], logits[1], {Kind::Choice, 0, 0, {}}}, {{0, {0, 1}}, 1});
    choose.threads = 1;
    plan.launches.push_back(std::move(choose));
  }
}

void FakeDevicePackage::drawTokens() {
  for (LaunchPlan &plan : program.plans) {
    Launch draw = launch("draw", "", {{Kind::Choice, 0, 0, {}}, {Kind::Draw, 0, 0, {}}}, {{0, {0, 1}}, 1});
    draw.threads = 1;
    plan.launches.push_back(std::move(draw));
  }
}

void FakeDevicePackage::overlapLaunches() {
  program.overlaps = true;
  manifest.devices[0].target = "nvptx:sm_90";
  ptx.replace(ptx.find("sm_80"), 5, "sm_90");
  const std::string body = "mov.u32 %r1, %ctaid.x;", wait = "griddepcontrol.wait;\n";
  for (size_t at = ptx.find(body); at != std::string::npos; at = ptx.find(body, at + wait.size() + 1))
    ptx.insert(at, wait);
}

void FakeDevicePackage::takeCounters() {
  program.counters = 3;
  for (LaunchPlan &plan : program.plans) {
    plan.launches.push_back(launch("count", "", {{Kind::Counters, 0, 0, {}}}, {{1, {}}, 1}));
    plan.launches.back().threads = 1;
  }
}

FakeDevicePackage::FakeDevicePackage() {
  manifest = fakeManifest(int64_t(toySource().tokens.size()));
  manifest.devices = {{"nvptx:sm_80", "cuda", "device/nvptx:sm_80", "program/nvptx:sm_80", {}}};
  ptx = test::ptx();
  constexpr int64_t kTable = 512; // not at the start
  program = test::program(vocabulary(), kTable);
  weights.resize(size_t(kTable + 4 * vocabulary()));
  for (int64_t v = 0; v < vocabulary(); ++v) {
    float logit = 0.001f * float(v);
    std::memcpy(&weights[size_t(kTable + 4 * v)], &logit, sizeof logit);
  }
}

void FakeDevicePackage::write(const std::string &path) const {
  auto writer = package::PackageWriter::create(path);
  ASSERT_TRUE(writer);
  Manifest written = manifest;
  if (withProcessorCode) {
    written.code = {{"x86-64", "code.x86-64", {"sse2"}, {{"step", 0}}}};
    ASSERT_TRUE(writer->addSection("code.x86-64", std::span(kCode)));
    ASSERT_TRUE(writer->addSection(package::kWeights, std::vector<uint8_t>(64, 1)));
  }
  ASSERT_TRUE(writer->addSection(package::kManifest, printManifest(written)));
  ASSERT_TRUE(writer->addSection(package::kTokenizer, buildTokenizer(toySource())->bytes));
  ASSERT_TRUE(writer->addSection("device/nvptx:sm_80", ptx));
  ASSERT_TRUE(writer->addSection("program/nvptx:sm_80", printDeviceProgram(program)));
  ASSERT_TRUE(writer->addSection(package::kDeviceWeights, weights));
  for (const auto &[name, bytes] : sections)
    ASSERT_TRUE(writer->addSection(name, bytes));
  ASSERT_TRUE(writer->finish());
}

} // namespace quern::test
