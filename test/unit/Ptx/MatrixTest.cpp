// mma.sync and ldmatrix against products computed plainly. The fragments are filled here element by element, each where
// the PTX ISA's figure for that shape has it.
#include "test/unit/Ptx/RunPtx.h"

#include "test/ptx/Types.h"

#include <random>

namespace quern::ptx {
namespace {

/// One mma by one warp: `a` and `b` are the fragments of all lanes, `registers` of them for each.
struct Fragments {
  int registersA, registersB, registersC;
  std::vector<uint32_t> a, b, c;

  Fragments(int registersA, int registersB, int registersC)
      : registersA(registersA), registersB(registersB), registersC(registersC), a(32 * registersA), b(32 * registersB),
        c(32 * registersC) {}

  void put(std::vector<uint32_t> &into, int registers, int lane, int reg, int shift, uint32_t bits) {
    into[lane * registers + reg] |= bits << shift;
  }
};

std::string list(const char *prefix, int first, int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i)
    text += (i ? ", " : "") + std::string(prefix) + std::to_string(first + i);
  return text + "}";
}

std::vector<uint32_t> multiply(const std::string &opcode, const Fragments &f) {
  auto load = [](int first, int count, const char *base) {
    std::string text;
    for (int i = 0; i < count; ++i)
      text += "ld.global.b32 %r" + std::to_string(first + i) + ", [" + base + "+" + std::to_string(4 * i) + "];\n";
    return text;
  };
  std::string lane = "mov.u32 %r40, %laneid;\n";
  auto offset = [](const char *to, const char *from, int bytes) {
    return "mul.wide.u32 %rd9, %r40, " + std::to_string(bytes) + "; add.u64 " + to + ", " + from + ", %rd9;\n";
  };
  std::string body = lane + offset("%rd11", "%rd1", 4 * f.registersA) + offset("%rd12", "%rd2", 4 * f.registersB) +
                     offset("%rd13", "%rd3", 4 * f.registersC) + load(1, f.registersA, "%rd11") +
                     load(11, f.registersB, "%rd12") + load(21, f.registersC, "%rd13") + opcode + " " +
                     list("%r", 31, f.registersC) + ", " + list("%r", 1, f.registersA) + ", " +
                     list("%r", 11, f.registersB) + ", " + list("%r", 21, f.registersC) + ";\nst.global.v" +
                     std::to_string(f.registersC) + ".b32 [%rd13], " + list("%r", 31, f.registersC) + ";";
  GlobalMemory memory;
  std::vector<uint32_t> result(f.c.size());
  uint64_t c = upload(memory, f.c);
  Status status =
      tryRun(kernelText(body, 3), memory, {upload(memory, f.a), upload(memory, f.b), c}, {{1, 1, 1}, {32, 1, 1}}, {3});
  EXPECT_TRUE(status) << status.error().message;
  download(memory, c, result);
  return result;
}

/// Small integers, exact in every type.
template <typename T> uint32_t bitsOf(int value) {
  if constexpr (isFloat<T>)
    return uint32_t(toBits(narrow<T>(value)));
  else
    return uint8_t(value);
}

template <typename T>
void testShape(const std::string &opcode, int depth, int perRegister, int quarterStride, int rows = 16) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> small(-9, 9);
  int groups = depth / quarterStride, eights = rows / 8;
  Fragments f(eights * groups, groups, 2 * eights);
  std::vector<int> a(rows * depth), b(depth * 8);
  for (int &value : a)
    value = small(random);
  for (int &value : b)
    value = small(random);
  int width = 32 / perRegister;
  for (int k = 0; k < depth; ++k) {
    int group = k / quarterStride, within = k % quarterStride;
    for (int row = 0; row < rows; ++row)
      f.put(f.a, eights * groups, row % 8 * 4 + within / perRegister, eights * group + row / 8,
            width * (within % perRegister), bitsOf<T>(a[row * depth + k]));
    for (int column = 0; column < 8; ++column)
      f.put(f.b, groups, column * 4 + within / perRegister, group, width * (within % perRegister),
            bitsOf<T>(b[k * 8 + column]));
  }
  auto result = multiply(opcode, f);
  for (int row = 0; row < rows; ++row)
    for (int column = 0; column < 8; ++column) {
      int sum = 0;
      for (int k = 0; k < depth; ++k)
        sum += a[row * depth + k] * b[k * 8 + column];
      uint32_t bits = result[(row % 8 * 4 + column / 2) * f.registersC + row / 8 * 2 + column % 2];
      float got = isFloat<T> ? std::bit_cast<float>(bits) : float(int32_t(bits));
      EXPECT_EQ(got, float(sum)) << opcode << " row " << row << " column " << column;
    }
}

TEST(PtxMatrix, MultipliesHalves) {
  testShape<Half>("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", 16, 2, 8);
  testShape<Half>("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", 8, 2, 8);
  testShape<Bfloat>("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", 16, 2, 8);
  testShape<Bfloat>("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32", 8, 2, 8);
}

TEST(PtxMatrix, MultipliesBytes) {
  testShape<int8_t>("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32", 32, 4, 16);
  testShape<int8_t>("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32", 16, 4, 16);
  testShape<int8_t>("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32", 16, 4, 16, 8);
}

TEST(PtxMatrix, RefusesOtherShapes) {
  EXPECT_THAT(errorOf("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%r1,%r2,%r3,%r4}, {%r5,%r6}, {%r7}, "
                      "{%r1,%r2,%r3,%r4};",
                      32),
              testing::HasSubstr("has a shape or types that the executor does not know"));
}

TEST(PtxMatrix, RefusesOtherSizes) {
  EXPECT_THAT(errorOf("ldmatrix.sync.aligned.m8n8.x8.shared.b16 %r1, [%rd1];", 32),
              testing::HasSubstr("is known as ldmatrix.sync.aligned.m8n8.{x1,x2,x4}"));
}

/// 8x8 matrices of 16 bits in shared memory, element = 64 matrix + 8 row + column; what lane 9 gets of each.
std::vector<uint32_t> loadOfLane9(const std::string &modifiers, uint32_t registers) {
  std::string body = R"(
    mov.u32 %r40, %tid.x; mov.b64 %rd5, tile; mul.wide.u32 %rd6, %r40, 16; add.u64 %rd7, %rd5, %rd6;
    mul.lo.u32 %r41, %r40, 8; mov.b32 %r42, 0;
$loop:
    add.u32 %r43, %r41, %r42; cvt.u16.u32 %rs1, %r43; mul.wide.u32 %rd8, %r42, 2; add.u64 %rd9, %rd7, %rd8;
    st.shared.b16 [%rd9], %rs1; add.u32 %r42, %r42, 1; setp.lt.u32 %p1, %r42, 8; @%p1 bra $loop;
    bar.sync 0;
    ldmatrix.sync.aligned.m8n8.)" +
                     modifiers + ".shared.b16 " + list("%r", 1, int(registers)) + ", [%rd7];\n" +
                     "setp.ne.u32 %p2, %r40, 9; @%p2 ret;\n";
  for (uint32_t i = 0; i < registers; ++i)
    body += "st.global.b32 [%rd1+" + std::to_string(4 * i) + "], %r" + std::to_string(i + 1) + ";\n";
  return run<uint32_t>(body, registers, 32, ".shared .align 16 .b8 tile[512];\n", 5);
}

TEST(PtxMatrix, LoadsMatrices) {
  // Lane 9: row 2, columns 2 and 3.
  auto pair = [](uint32_t low, uint32_t high) { return low | high << 16; };
  EXPECT_EQ(loadOfLane9("x4", 4), (std::vector{pair(18, 19), pair(82, 83), pair(146, 147), pair(210, 211)}));
  EXPECT_EQ(loadOfLane9("x2", 2), (std::vector{pair(18, 19), pair(82, 83)}));
  // Transposed: column 2, rows 2 and 3.
  EXPECT_EQ(loadOfLane9("x2.trans", 2), (std::vector{pair(18, 26), pair(82, 90)}));
}

} // namespace
} // namespace quern::ptx
