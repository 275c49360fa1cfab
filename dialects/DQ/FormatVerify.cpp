// The ids in the messages are those of DQAttrs.td and of the tests.
#include "dialects/DQ/FormatVerify.h"

#include "mlir/IR/AffineExpr.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace mlir;
using namespace quern::dq;
using namespace quern::formats;

namespace {

constexpr int64_t kLimit = 65536; ///< weights and bytes of a block; places are kept as 16-bit numbers

/// The value of an affine expression at an index; nothing if a divisor is not positive. Bounded against overflow, since
/// the text may come from a user.
std::optional<int64_t> evaluate(AffineExpr expr, int64_t index) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  if (isa<AffineDimExpr>(expr))
    return index;
  auto binary = cast<AffineBinaryOpExpr>(expr);
  std::optional<int64_t> lhs = evaluate(binary.getLHS(), index), rhs = evaluate(binary.getRHS(), index);
  constexpr int64_t bound = int64_t(1) << 31;
  if (!lhs || !rhs || std::abs(*lhs) > bound || std::abs(*rhs) > bound)
    return std::nullopt;
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return *lhs + *rhs;
  case AffineExprKind::Mul:
    return *lhs * *rhs;
  case AffineExprKind::Mod:
    return *rhs > 0 ? std::optional(llvm::mod(*lhs, *rhs)) : std::nullopt;
  case AffineExprKind::FloorDiv:
    return *rhs > 0 ? std::optional(llvm::divideFloorSigned(*lhs, *rhs)) : std::nullopt;
  case AffineExprKind::CeilDiv:
    return *rhs > 0 ? std::optional(llvm::divideCeilSigned(*lhs, *rhs)) : std::nullopt;
  default:
    return std::nullopt;
  }
}

class Evaluator {
public:
  Evaluator(EmitError emitError, const FormatParameters &format)
      : emitError(emitError), format(format), used(static_cast<size_t>(format.bytes) * 8) {}

  FailureOr<FormatSpec> run();

private:
  LogicalResult ints(StringRef what, PackedIntsAttr attr, int64_t count, PackedInts &out);
  LogicalResult plane(StringRef what, PlaneAttr attr, int64_t count, Plane &out);
  LogicalResult scale(StringRef what, ScaleAttr attr, int64_t groups, Scale &out);
  LogicalResult claim(StringRef what, int64_t byte, int64_t shift, int64_t bits);
  LogicalResult codes(FormatSpec &spec);

  EmitError emitError;
  const FormatParameters &format;
  std::vector<bool> used; ///< one for each bit of the block
};

/// Takes bits of the block for one use.
LogicalResult Evaluator::claim(StringRef what, int64_t byte, int64_t shift, int64_t bits) {
  if (byte < 0 || byte >= format.bytes)
    return emitError() << "expected " << what << " inside the block of " << format.bytes
                       << " bytes (F4), got byte " << byte;
  if (shift < 0 || shift + bits > 8)
    return emitError() << "expected " << what << " inside one byte (F4), got " << bits << " bits at shift " << shift;
  for (int64_t bit = byte * 8 + shift, end = bit + bits; bit < end; ++bit) {
    if (used[bit])
      return emitError() << "bit " << bit % 8 << " of byte " << byte << " is used twice (F5), the second time by "
                         << what;
    used[bit] = true;
  }
  return success();
}

LogicalResult Evaluator::plane(StringRef what, PlaneAttr attr, int64_t count, Plane &out) {
  out.bits = attr.getBits();
  for (int64_t i = 0; i < count; ++i) {
    std::optional<int64_t> byte = evaluate(attr.getPlace().getResult(0), i);
    std::optional<int64_t> shift = evaluate(attr.getPlace().getResult(1), i);
    if (!byte || !shift)
      return emitError() << "expected a place that is affine in i with positive divisors (F10) for " << what;
    if (failed(claim((what + " " + Twine(i)).str(), *byte, *shift, attr.getBits())))
      return failure();
    out.byte.push_back(*byte);
    out.shift.push_back(*shift);
  }
  return success();
}

LogicalResult Evaluator::ints(StringRef what, PackedIntsAttr attr, int64_t count, PackedInts &out) {
  int64_t bits = 0;
  for (PlaneAttr part : attr.getPlanes()) {
    if (part.getBits() < 1 || part.getBits() > 8)
      return emitError() << "expected planes of 1 to 8 bits (F3) for each " << what << ", got " << part.getBits();
    bits += part.getBits();
  }
  if (bits < 1 || bits > 8)
    return emitError() << "expected 1 to 8 bits (F3) for each " << what << ", got " << bits;
  for (PlaneAttr part : attr.getPlanes())
    if (failed(plane(what, part, count, out.planes.emplace_back())))
      return failure();
  out.isSigned = attr.getIsSigned();
  out.offset = attr.getOffset();
  int64_t low = out.isSigned ? -(int64_t(1) << (bits - 1)) : 0, high = low + (int64_t(1) << bits) - 1;
  low -= attr.getOffset(), high -= attr.getOffset();
  if (format.table.empty() && (low < -128 || high > 127) && what == "code")
    return emitError() << "expected codes less zero point in a signed byte (F7), got " << low << " to " << high;
  if (std::abs(attr.getOffset()) > 256)
    return emitError() << "expected " << what << "s less at most 256, got less " << attr.getOffset() << " (F12)";
  return success();
}

LogicalResult Evaluator::codes(FormatSpec &spec) {
  if (failed(ints("code", format.codes, format.block, spec.codes)))
    return failure();
  if (format.table.empty())
    return success();
  if (format.table.size() != size_t(1) << spec.codes.bits())
    return emitError() << "expected a table of " << (1 << spec.codes.bits()) << " entries (F6), got "
                       << format.table.size();
  if (spec.codes.isSigned || spec.codes.offset != 0)
    return emitError() << "expected unsigned codes without zero point where there is a table (F6)";
  spec.table.assign(format.table.begin(), format.table.end());
  return success();
}

unsigned width(ScaleKind kind) { return kind == ScaleKind::F32 ? 4 : kind == ScaleKind::E8M0 ? 1 : 2; }

LogicalResult Evaluator::scale(StringRef what, ScaleAttr attr, int64_t groups, Scale &out) {
  PackedIntsAttr factors = attr.getFactors();
  if (factors && attr.getStep() != 0)
    return emitError() << "expected no step for a " << what << " with factors (F9), got step " << attr.getStep();
  if (!factors && groups > 1 && attr.getStep() < 1)
    return emitError() << "expected a step for the " << what << "s of " << groups << " groups (F9)";
  out.kind = attr.getKind();
  for (int64_t j = 0, count = factors ? 1 : groups; j < count; ++j)
    for (unsigned byte = 0; byte < width(out.kind); ++byte)
      if (failed(claim((what + " " + Twine(j)).str(), attr.getByte() + j * attr.getStep() + byte, 0, 8)))
        return failure();
  out.byte = attr.getByte();
  out.stride = attr.getStep();
  return factors ? ints((what + " factor").str(), factors, groups, out.sub.emplace()) : success();
}

bool isIdentifier(StringRef name) {
  return !name.empty() && !llvm::isDigit(name.front()) &&
         llvm::all_of(name, [](char c) { return llvm::isAlnum(c) || c == '_'; });
}

FailureOr<FormatSpec> Evaluator::run() {
  FormatSpec spec;
  spec.name = format.name.str();
  spec.ggufType = format.ggufType;
  spec.block = format.block;
  spec.bytes = format.bytes;
  spec.group = format.group;
  spec.unit = format.unit.getValueAsDouble();
  spec.minimumAdded = format.minimumAdded;
  int64_t groups = format.block / format.group;
  if (failed(codes(spec)) || failed(scale("scale", format.scale, groups, spec.scale)))
    return failure();
  if (format.minimum && failed(scale("minimum", format.minimum, groups, spec.minimum.emplace())))
    return failure();
  return spec;
}

} // namespace

FailureOr<FormatSpec> quern::dq::evaluateFormat(EmitError emitError, const FormatParameters &format) {
  if (!isIdentifier(format.name))
    return emitError() << "expected a name of letters, digits and '_' (F1), got '" << format.name << "'";
  if (format.ggufType < -1 || format.ggufType > std::numeric_limits<int32_t>::max())
    return emitError() << "expected a GGUF type id of at least 0 (F11), got " << format.ggufType;
  if (format.block < 1 || format.block > kLimit)
    return emitError() << "expected a block of 1 to 65536 weights (F2), got " << format.block;
  if (format.bytes < 1 || format.bytes > kLimit)
    return emitError() << "expected a block of 1 to 65536 bytes (F2), got " << format.bytes;
  if (format.group < 1 || format.block % format.group != 0)
    return emitError() << "expected a group that divides the block of " << format.block << " weights (F2), got "
                       << format.group;
  int exponent;
  double unit = format.unit.getValueAsDouble();
  if (!(unit > 0) || std::frexp(unit, &exponent) != 0.5)
    return emitError() << "expected a unit that is a power of two (F8), got " << unit;
  return Evaluator(emitError, format).run();
}

LogicalResult FormatAttr::verify(EmitError emitError, StringRef name, int64_t ggufType, int64_t block, int64_t bytes,
                                 int64_t group, PackedIntsAttr codes, ArrayRef<int16_t> table, FloatAttr unit,
                                 ScaleAttr scale, ScaleAttr minimum, bool minimumAdded) {
  return evaluateFormat(emitError, {name, ggufType, block, bytes, group, codes, table, unit, scale, minimum,
                                    minimumAdded});
}
