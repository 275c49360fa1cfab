// dq.dot as instructions. Three ways, all exact:
//   vpdpbusd                 where the target has it: unsigned codes of all sizes
//   vpmaddubsw, vpmaddwd     codes of 7 bits, whose pairs of products fit 16 bits; of signed codes their magnitudes,
//                            with the sign on the other operand. Smaller codes are added up in 16 bits over as many
//                            dots of a chain as cannot overflow, and widened once.
//   vpmaddwd on even and odd bytes widened to 16 bits: whatever is left
#include "LowerDot.h"

#include "dialects/DQ/DQ.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <algorithm>

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

Value codegen::callIntrinsic(OpBuilder &b, Location loc, StringRef name, Type result, ValueRange operands) {
  return LLVM::CallIntrinsicOp::create(b, loc, result, b.getStringAttr(name), operands).getResult(0);
}

Value codegen::extractPart(OpBuilder &b, Location loc, Value vector, int64_t part, int64_t lanes) {
  if (cast<VectorType>(vector.getType()).getNumElements() == lanes)
    return vector;
  return vector::ExtractStridedSliceOp::create(b, loc, vector, ArrayRef<int64_t>{part * lanes},
                                               ArrayRef<int64_t>{lanes}, ArrayRef<int64_t>{1});
}

Value codegen::joinParts(OpBuilder &b, Location loc, ArrayRef<Value> parts, VectorType type) {
  if (parts.size() == 1)
    return parts.front();
  Value joined = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
  int64_t lanes = type.getNumElements() / int64_t(parts.size());
  for (auto [index, part] : llvm::enumerate(parts))
    joined = vector::InsertStridedSliceOp::create(b, loc, part, joined, ArrayRef<int64_t>{int64_t(index) * lanes},
                                                  ArrayRef<int64_t>{1});
  return joined;
}

namespace {

/// Pairs of products of a chain of dots, summed in 16 bits and not yet added to `acc`.
struct WordSums {
  llvm::SmallVector<Value> parts;
  Value acc;
  int64_t dots = 0;
};

class DotLowering {
public:
  DotLowering(MLIRContext *context, const Target &target) : b(context), target(target) {}

  void lower(dq::DotOp op);
  void eraseAll() {
    for (dq::DotOp op : llvm::reverse(done))
      op.erase();
  }

private:
  /// Dots whose pairs of products may be added up in 16 bits; 0 where not even one pair fits.
  int64_t dotsInWords(dq::DotOp op) const;
  bool goesOnInWords(dq::DotOp op, int64_t dots) const;
  Value lowerToVnni(dq::DotOp op);
  void lowerToWords(dq::DotOp op);
  Value lowerToWidening(dq::DotOp op);

  VectorType words() { return VectorType::get(lanes * 2, b.getI16Type()); }
  VectorType sums() { return VectorType::get(lanes, b.getI32Type()); }
  Value wordConstant(int64_t value) {
    return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(words(), b.getI16IntegerAttr(value)));
  }
  StringRef named(StringRef narrow, StringRef wide) const { return lanes == 8 ? wide : narrow; }
  Value multiplyWords(Value a, Value c) {
    return callIntrinsic(b, loc, named("llvm.x86.sse2.pmadd.wd", "llvm.x86.avx2.pmadd.wd"), sums(), {a, c});
  }

  OpBuilder b;
  const Target &target;
  Location loc = b.getUnknownLoc();
  int64_t lanes = 0; ///< sums in a register, for the dot being lowered
  llvm::DenseMap<Operation *, WordSums> open;
  llvm::SmallVector<dq::DotOp> done;
};

} // namespace

int64_t DotLowering::dotsInWords(dq::DotOp op) const {
  int64_t largest = op.getLargest();
  // |code| = 128 fits an unsigned byte; the other operand of signed codes is at least -127 (see the op).
  if (target.dot != DotKind::Words || (!op.getCodesSigned() && largest > 127))
    return 0;
  return 32767 / (2 * largest * (op.getCodesSigned() ? 127 : 128));
}

/// Whether the result of `op` is only added to, by a dot like it, and 16 bits hold that dot's products too.
bool DotLowering::goesOnInWords(dq::DotOp op, int64_t dots) const {
  if (!op.getOut().hasOneUse())
    return false;
  auto next = dyn_cast<dq::DotOp>(*op.getOut().user_begin());
  return next && next->getBlock() == op->getBlock() && next.getAcc() == op.getOut() &&
         next.getLargest() == op.getLargest() && next.getCodesSigned() == op.getCodesSigned() &&
         dots < dotsInWords(op);
}

void DotLowering::lower(dq::DotOp op) {
  b.setInsertionPoint(op);
  loc = op.getLoc();
  int64_t all = op.getAcc().getType().getNumElements();
  bool vnni = target.dot == DotKind::Vnni && !op.getCodesSigned();
  lanes = std::min<int64_t>(all, (vnni ? target.vectorBits : std::min(target.vectorBits, 256u)) / 32);
  done.push_back(op);
  if (dotsInWords(op) > 0)
    return lowerToWords(op);
  op.getOut().replaceAllUsesWith(vnni ? lowerToVnni(op) : lowerToWidening(op));
}

Value DotLowering::lowerToVnni(dq::DotOp op) {
  StringRef name = lanes == 16  ? "llvm.x86.avx512.vpdpbusd.512"
                   : lanes == 8 ? "llvm.x86.avx512.vpdpbusd.256"
                                : "llvm.x86.avx512.vpdpbusd.128";
  llvm::SmallVector<Value> parts;
  for (int64_t part = 0; part < op.getAcc().getType().getNumElements() / lanes; ++part)
    parts.push_back(callIntrinsic(b, loc, name, sums(),
                                  {extractPart(b, loc, op.getAcc(), part, lanes),
                                   extractPart(b, loc, op.getU(), part, 4 * lanes),
                                   extractPart(b, loc, op.getS(), part, 4 * lanes)}));
  return joinParts(b, loc, parts, op.getType());
}

void DotLowering::lowerToWords(dq::DotOp op) {
  WordSums sum{{}, op.getAcc(), 0};
  if (auto before = open.find(op.getAcc().getDefiningOp()); before != open.end())
    sum = before->second;
  bool first = sum.dots++ == 0;
  for (int64_t part = 0; part < op.getAcc().getType().getNumElements() / lanes; ++part) {
    Value u = extractPart(b, loc, op.getU(), part, 4 * lanes), s = extractPart(b, loc, op.getS(), part, 4 * lanes);
    if (op.getCodesSigned()) {
      s = callIntrinsic(b, loc, named("llvm.x86.ssse3.psign.b.128", "llvm.x86.avx2.psign.b"), s.getType(), {s, u});
      u = math::AbsIOp::create(b, loc, u);
    }
    Value pairs = callIntrinsic(b, loc, named("llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.avx2.pmadd.ub.sw"), words(),
                                {u, s});
    if (first)
      sum.parts.push_back(pairs);
    else
      sum.parts[part] = arith::AddIOp::create(b, loc, sum.parts[part], pairs);
  }
  if (goesOnInWords(op, sum.dots)) {
    open[op] = sum;
    return;
  }
  for (Value &part : sum.parts)
    part = multiplyWords(part, wordConstant(1));
  Value joined = joinParts(b, loc, sum.parts, op.getType());
  op.getOut().replaceAllUsesWith(arith::AddIOp::create(b, loc, sum.acc, joined));
}

Value DotLowering::lowerToWidening(dq::DotOp op) {
  Value eight = wordConstant(8), low = wordConstant(255);
  auto signExtended = [&](Value bytes) {
    return arith::ShRSIOp::create(b, loc, arith::ShLIOp::create(b, loc, bytes, eight), eight);
  };
  llvm::SmallVector<Value> parts;
  for (int64_t part = 0; part < op.getAcc().getType().getNumElements() / lanes; ++part) {
    Value u = vector::BitCastOp::create(b, loc, words(), extractPart(b, loc, op.getU(), part, 4 * lanes));
    Value s = vector::BitCastOp::create(b, loc, words(), extractPart(b, loc, op.getS(), part, 4 * lanes));
    Value evenU, oddU;
    if (op.getCodesSigned())
      evenU = signExtended(u), oddU = arith::ShRSIOp::create(b, loc, u, eight);
    else
      evenU = arith::AndIOp::create(b, loc, u, low), oddU = arith::ShRUIOp::create(b, loc, u, eight);
    Value even = multiplyWords(evenU, signExtended(s));
    Value odd = multiplyWords(oddU, arith::ShRSIOp::create(b, loc, s, eight));
    Value acc = extractPart(b, loc, op.getAcc(), part, lanes);
    parts.push_back(arith::AddIOp::create(b, loc, arith::AddIOp::create(b, loc, acc, even), odd));
  }
  return joinParts(b, loc, parts, op.getType());
}

void codegen::lowerDots(Operation *root, const Target &target) {
  DotLowering lowering(root->getContext(), target);
  root->walk([&](dq::DotOp op) { lowering.lower(op); });
  lowering.eraseAll();
}
