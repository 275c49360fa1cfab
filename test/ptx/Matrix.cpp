// ldmatrix and mma.sync. Which lane holds which element of a fragment is as the PTX ISA's figures say; all shapes here
// follow one rule: a register of A or B holds as many neighbouring k as fit into 32 bits, lane = 4 * row + place in k.
#include "test/ptx/Handlers.h"

namespace quern::ptx {
namespace {

using Lanes = std::span<Thread *const, 32>;

/// `flags`: number of 8x8 matrices, with 8 where they are transposed. Lane 8 j + r gives the address of row r of matrix
/// j.
Step loadMatrices(Lanes lanes, const Instruction &i) {
  uint32_t count = i.flags & 7;
  std::array<std::array<std::array<uint16_t, 8>, 8>, 4> matrices;
  for (uint32_t row = 0; row < 8 * count; ++row) {
    Thread &t = *lanes[row];
    uint64_t address = t.slots[i.slots[count]] + uint64_t(i.offset);
    if (!loadBytes(t, Space(i.width), address, matrices[row / 8][row % 8].data(), 16, i.line))
      return Step::fault;
  }
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t j = 0; j < count; ++j) {
      uint32_t row = lane / 4, column = 2 * (lane % 4);
      const auto &matrix = matrices[j];
      bool transposed = i.flags & 8;
      uint32_t low = transposed ? matrix[column][row] : matrix[row][column];
      uint32_t high = transposed ? matrix[column + 1][row] : matrix[row][column + 1];
      lanes[lane]->set(i.slots[j], low | high << 16);
    }
  return Step::next;
}

void decodeLoadMatrices(Decoder &d) {
  bool known = d.take("sync") && d.take("aligned") && d.take("m8n8");
  int size = d.takeOneOf({"x1", "x2", "x4"}), count = 1 << std::max(size, 0);
  bool transposed = d.take("trans");
  bool shared = d.take("shared");
  d.ignore({"cta"});
  if (!known || size < 0 || d.takeType() != Type::u16)
    d.refuse("is known as ldmatrix.sync.aligned.m8n8.{x1,x2,x4}[.trans][.shared].b16");
  d.needs(75);
  d.out.flags = uint8_t(count | (transposed ? 8 : 0));
  d.out.width = uint8_t(shared ? Space::shared : Space::generic);
  d.out.wholeWarp = true;
  d.vector(count);
  d.address();
  d.runTogether(loadMatrices);
}

/// D = A B + C of Rows x K by K x 8, with 8 or 16 rows; the sum of each element runs in ascending k.
template <typename A, typename B, typename Sum, int K, int Rows = 16> struct Multiply {
  static constexpr int perRegister = 4 / int(sizeof(A)), eights = Rows / 8;
  static constexpr int registersB = K / (4 * perRegister), registersA = eights * registersB, registersC = 2 * eights;
  static constexpr int firstA = registersC, firstB = firstA + registersA, firstC = firstB + registersB;

  /// Element `k` of a row (of A) or column (of B), out of the lane that holds it.
  template <typename Element> static Element element(Lanes lanes, const Instruction &i, int line, int k, int slot) {
    const Thread &t = *lanes[4 * line + k / perRegister % 4];
    return fromBits<Element>(t.slots[i.slots[slot]] >> (8 * sizeof(Element) * (k % perRegister)));
  }

  static Sum product(A a, B b) {
    if constexpr (isFloat<A>)
      return float(a) * float(b);
    else
      return Sum(a) * Sum(b);
  }

  static Step run(Lanes lanes, const Instruction &i) {
    std::array<Sum, 32 * registersC> results;
    for (int lane = 0; lane < 32; ++lane)
      for (int e = 0; e < registersC; ++e) {
        int row = lane / 4 + 8 * (e / 2), column = 2 * (lane % 4) + e % 2;
        Sum sum = lanes[lane]->get<Sum>(i.slots[firstC + e]);
        for (int k = 0; k < K; ++k) {
          int quarter = k / (4 * perRegister);
          A a = element<A>(lanes, i, row % 8, k, firstA + eights * quarter + row / 8);
          B b = element<B>(lanes, i, column, k, firstB + quarter);
          sum = Sum(sum + product(a, b));
        }
        results[registersC * lane + e] = sum;
      }
    for (int lane = 0; lane < 32; ++lane)
      for (int e = 0; e < registersC; ++e)
        lanes[lane]->set(i.slots[e], results[registersC * lane + e]);
    return Step::next;
  }

  static void decode(Decoder &d) {
    d.vector(registersC);
    d.vector(registersA);
    d.vector(registersB);
    d.vector(registersC);
    d.runTogether(run);
  }
};

void decodeMultiply(Decoder &d) {
  bool known = d.take("sync") && d.take("aligned");
  int shape = d.takeOneOf({"m16n8k8", "m16n8k16", "m16n8k32", "m8n8k16"});
  known = known && d.take("row") && d.take("col");
  d.needs(shape == 0 || shape == 3 ? 75 : 80);
  d.out.wholeWarp = true;
  int kind = d.takeOneOf({"f32", "s32"});
  std::string inputs;
  if (kind == 0)
    inputs = d.take("f16") && d.take("f16") ? "f16" : d.take("bf16") && d.take("bf16") ? "bf16" : "";
  else if (kind == 1)
    inputs = d.take("s8") && d.take("s8") ? "s8" : d.take("u8") && d.take("s8") ? "u8" : "";
  known = known && d.takeOneOf({"f32", "s32"}) == kind;
  if (inputs == "bf16")
    d.needs(80);
  if (known && inputs == "f16" && shape < 2)
    return shape ? Multiply<Half, Half, float, 16>::decode(d) : Multiply<Half, Half, float, 8>::decode(d);
  if (known && inputs == "bf16" && shape < 2)
    return shape ? Multiply<Bfloat, Bfloat, float, 16>::decode(d) : Multiply<Bfloat, Bfloat, float, 8>::decode(d);
  if (known && inputs == "s8" && shape == 3)
    return Multiply<int8_t, int8_t, int32_t, 16, 8>::decode(d);
  if (known && inputs == "s8" && shape > 0)
    return shape == 2 ? Multiply<int8_t, int8_t, int32_t, 32>::decode(d)
                      : Multiply<int8_t, int8_t, int32_t, 16>::decode(d);
  if (known && inputs == "u8" && shape == 2)
    return Multiply<uint8_t, int8_t, int32_t, 32>::decode(d);
  d.refuse("has a shape or types that the executor does not know");
}

} // namespace

const OpcodeTable &matrixOpcodes() {
  static const OpcodeTable table = {{"ldmatrix", decodeLoadMatrices}, {"mma", decodeMultiply}};
  return table;
}

} // namespace quern::ptx
