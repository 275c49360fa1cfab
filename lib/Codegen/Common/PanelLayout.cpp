// From a format's description to the layout of its panels.
#include "quern/Codegen/PanelLayout.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

using namespace quern;
using namespace quern::codegen;
using formats::FormatSpec;
using formats::ScaleKind;

/// Splits the bits of a code into code lines and high-bit lines.
static Status splitBits(const FormatSpec &spec, PanelLayout &layout) {
  unsigned bits = spec.codes.bits();
  layout.lowBits = bits == 8 ? 8 : bits >= 4 ? 4 : 2;
  if (bits < 2 || bits > 8 || bits - layout.lowBits > 2)
    return fail("format " + spec.name + ": codes of " + std::to_string(bits) +
                " bits have no panel layout (2 to 6 and 8 bits have)");
  layout.highBits = bits - layout.lowBits;
  return {};
}

static bool isByte(int value) { return value >= -128 && value <= 127; }

/// Entries beyond a signed byte must be multiples of a power of two that leaves one.
static Status chooseDigits(const FormatSpec &spec, PanelLayout &layout) {
  auto fits = [&](unsigned shift) {
    return std::ranges::all_of(spec.table, [&](int entry) {
      return isByte(entry) || (entry % (1 << shift) == 0 && isByte(entry / (1 << shift)));
    });
  };
  while (layout.digitShift < 8 && !fits(layout.digitShift))
    ++layout.digitShift;
  if (!fits(layout.digitShift))
    return fail("format " + spec.name + ": entries of the table beyond a signed byte must be such bytes times a power "
                "of two");
  return {};
}

static Status chooseZero(const FormatSpec &spec, PanelLayout &layout) {
  if (!spec.table.empty()) {
    if (layout.lowBits != 4)
      return fail("format " + spec.name + ": a table needs codes of 4 to 6 bits");
    layout.table = spec.table;
    layout.zero = 128;
    return chooseDigits(spec, layout);
  }
  layout.signedCodes = spec.codes.isSigned;
  int zero = spec.codes.isSigned ? 128 + spec.codes.offset : spec.codes.offset;
  if (spec.codes.isSigned && layout.lowBits != 8)
    return fail("format " + spec.name + ": signed codes need 8 bits; describe others by a zero point");
  if (zero < 0 || zero > 128 || (zero != 0 && !std::has_single_bit(unsigned(zero))))
    return fail("format " + spec.name + ": the zero point " + std::to_string(zero) + " is no power of two");
  layout.zero = unsigned(zero);
  return {};
}

static Status choosePlainScale(const FormatSpec &spec, PanelLayout &layout) {
  if (spec.group % 32 != 0)
    return fail("format " + spec.name + ": plain scales need groups of a multiple of 32");
  layout.piece = 32;
  layout.minimumAdded = spec.minimumAdded;
  bool power = spec.scale.kind == ScaleKind::E8M0, half = spec.scale.kind == ScaleKind::F16;
  if (spec.scale.kind == ScaleKind::BF16)
    return fail("format " + spec.name + ": plain scales must be f16, f32 or e8m0");
  if (spec.minimum && (!half || spec.minimum->kind != ScaleKind::F16 || spec.minimum->sub))
    return fail("format " + spec.name + ": a plain minimum must be f16, as the scale");
  if (spec.unit != 1.0f && !power)
    return fail("format " + spec.name + ": a unit other than 1 needs e8m0 scales");
  layout.scale = power          ? ScaleLayout::BFloat
                 : !half        ? ScaleLayout::Single
                 : spec.minimum ? ScaleLayout::HalfAndMinimum
                                : ScaleLayout::Half;
  return {};
}

static Status chooseSuperScale(const FormatSpec &spec, PanelLayout &layout) {
  const formats::PackedInts &sub = *spec.scale.sub;
  layout.piece = spec.group;
  bool halves = spec.scale.kind == ScaleKind::F16 && spec.unit == 1.0f && spec.block == kSuperBlock;
  if (spec.minimum) {
    bool nested = spec.minimum->kind == ScaleKind::F16 && spec.minimum->sub && !spec.minimumAdded && sub.offset == 0 &&
                  spec.minimum->sub->offset == 0 && !sub.isSigned && !spec.minimum->sub->isSigned;
    unsigned bits = nested ? std::max(sub.bits(), spec.minimum->sub->bits()) : 8;
    if (halves && nested && spec.group == 32 && bits <= 6)
      layout.scale = ScaleLayout::SixBits;
    else if (halves && nested && spec.group == 16 && bits <= 4)
      layout.scale = ScaleLayout::Nibbles;
    else
      return fail("format " + spec.name + ": this hierarchy of scales and minimums has no panel layout");
    return {};
  }
  if (!halves || (spec.group != 16 && spec.group != 32))
    return fail("format " + spec.name + ": this hierarchy of scales has no panel layout");
  layout.scale = spec.group == 16 ? ScaleLayout::SignedBytes : ScaleLayout::BytesAndHalf;
  return {};
}

Result<PanelLayout> PanelLayout::get(const FormatSpec &spec) {
  PanelLayout layout;
  QUERN_TRY(splitBits(spec, layout));
  QUERN_TRY(chooseZero(spec, layout));
  QUERN_TRY(spec.scale.sub ? chooseSuperScale(spec, layout) : choosePlainScale(spec, layout));
  return layout;
}

PanelLayout PanelLayout::getFloat(unsigned bytes, bool bfloat) {
  PanelLayout layout;
  layout.floatBytes = bytes;
  layout.bfloat = bfloat;
  return layout;
}

std::vector<int8_t> PanelLayout::digitTable(unsigned digit) const {
  std::vector<int8_t> digits;
  for (int entry : table)
    digits.push_back(isByte(entry) == (digit == 0) ? int8_t(digit == 0 ? entry : entry >> digitShift) : 0);
  return digits;
}

int64_t PanelLayout::largestCode(bool asSigned, unsigned digit) const {
  if (table.empty())
    return asSigned ? 128 : (1 << (lowBits + highBits)) - 1;
  int64_t largest = 1;
  for (int8_t entry : digitTable(digit))
    largest = std::max<int64_t>(largest, asSigned ? std::abs(int(entry)) : entry + 128);
  return largest;
}

std::string PanelLayout::family() const {
  if (isFloat())
    return floatBytes == 4 ? "f32" : bfloat ? "bf16" : "f16";
  std::string name = "c" + std::to_string(lowBits);
  if (highBits)
    name += "h" + std::to_string(highBits);
  if (!table.empty()) {
    // Tables differ in what they hold, so the name carries a short hash of it.
    uint32_t hash = 2166136261u;
    for (unsigned digit = 0; digit < digits(); ++digit)
      for (int8_t entry : digitTable(digit))
        hash = (hash ^ uint8_t(entry)) * 16777619u;
    name += "t" + std::to_string(hash % 10000);
  } else if (zero) {
    name += "z" + std::to_string(zero);
  }
  static constexpr const char *names[] = {"half", "bfloat",  "single", "halfmin",
                                          "six",  "nibbles", "bytes",  "byteshalf"};
  name += std::string("_") + names[int(scale)];
  return minimumAdded && hasMinimum() ? name + "_added" : name;
}

int64_t PanelLayout::headerBytes(int64_t k) const {
  int64_t superBlocks = (k + kSuperBlock - 1) / kSuperBlock;
  switch (scale) {
  case ScaleLayout::SixBits:
    return kLineBytes;
  case ScaleLayout::Nibbles:
    return superBlocks * kLineBytes;
  case ScaleLayout::SignedBytes:
    return (superBlocks * 32 + kLineBytes - 1) / kLineBytes * kLineBytes;
  default:
    return 0;
  }
}

int64_t codegen::paddedK(const PanelLayout &layout, int64_t k) {
  int64_t unit = layout.isFloat() ? kPanelRows : kSubunit;
  return (k + unit - 1) / unit * unit;
}

int64_t PanelLayout::panelBytes(int64_t k) const {
  if (isFloat())
    return paddedK(*this, k) * kPanelRows * floatBytes;
  return headerBytes(k) + paddedK(*this, k) / kSubunit * subunitBytes();
}
