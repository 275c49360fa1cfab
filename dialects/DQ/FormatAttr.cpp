// Reading and printing of `#dq.format` and its parts. What they must satisfy: FormatVerify.cpp.
#include "dialects/DQ/DQ.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace quern::dq;
using quern::formats::ScaleKind;

/// An affine expression in the index, which people write as `i`.
static void printIndexExpr(AsmPrinter &printer, AffineExpr expr) {
  std::string text;
  llvm::raw_string_ostream(text) << expr;
  for (size_t at; (at = text.find("d0")) != std::string::npos;)
    text.replace(at, 2, "i");
  printer << text;
}

static void printPlace(AsmPrinter &printer, AffineMap place) {
  printIndexExpr(printer, place.getResult(0));
  if (place.getResult(1) == getAffineConstantExpr(0, place.getContext()))
    return;
  printer << " shift ";
  printIndexExpr(printer, place.getResult(1));
}

static ParseResult parsePlace(AsmParser &parser, AffineMap &place) {
  MLIRContext *context = parser.getContext();
  std::pair<StringRef, AffineExpr> index("i", getAffineDimExpr(0, context));
  AffineExpr byte, shift = getAffineConstantExpr(0, context);
  if (parser.parseAffineExpr(index, byte))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("shift")) && parser.parseAffineExpr(index, shift))
    return failure();
  place = AffineMap::get(1, 0, {byte, shift}, context);
  return success();
}

/// `signed [4 bits at ..., ...]`, without the space that the planes' own printer begins with.
static void printPlanes(AsmPrinter &printer, bool isSigned, ArrayRef<PlaneAttr> planes) {
  printer << (isSigned ? "signed [" : "[");
  llvm::interleaveComma(planes, printer, [&](PlaneAttr plane) {
    printer << plane.getBits() << " bits at ";
    printPlace(printer, plane.getPlace());
  });
  printer << ']';
}

static ParseResult parsePlanes(AsmParser &parser, bool &isSigned, SmallVector<PlaneAttr> &planes) {
  isSigned = succeeded(parser.parseOptionalKeyword("signed"));
  return parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&] {
    planes.push_back(dyn_cast_or_null<PlaneAttr>(PlaneAttr::parse(parser, {})));
    return success(planes.back() != nullptr);
  });
}

static void printScaleKind(AsmPrinter &printer, ScaleKind kind) {
  static constexpr const char *names[] = {"f16", "bf16", "f32", "e8m0"};
  printer << names[static_cast<int>(kind)];
}

static ParseResult parseScaleKind(AsmParser &parser, ScaleKind &kind) {
  StringRef name;
  llvm::SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&name))
    return failure();
  auto known = llvm::StringSwitch<std::optional<ScaleKind>>(name)
                   .Case("f16", ScaleKind::F16)
                   .Case("bf16", ScaleKind::BF16)
                   .Case("f32", ScaleKind::F32)
                   .Case("e8m0", ScaleKind::E8M0)
                   .Default(std::nullopt);
  if (!known)
    return parser.emitError(loc) << "expected a number of kind f16, bf16, f32 or e8m0, got '" << name << "'";
  kind = *known;
  return success();
}

#define GET_ATTRDEF_CLASSES
#include "dialects/DQ/DQAttrs.cpp.inc"

void DQDialect::registerAttributes() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/DQ/DQAttrs.cpp.inc"
      >();
}

namespace {
/// The fields of a format as they are read, before they are checked together.
struct FormatFields {
  int64_t ggufType = -1, block = 0, bytes = 0, group = 0;
  PackedIntsAttr codes;
  SmallVector<int16_t> table;
  double unit = 1.0;
  ScaleAttr scale, minimum;
  bool minimumAdded = false;
};
} // namespace

/// `keyword = value`; ends with the comma that follows unless it is the last field.
static ParseResult parseCount(AsmParser &parser, StringRef keyword, int64_t &value) {
  return failure(parser.parseKeyword(keyword) || parser.parseEqual() || parser.parseInteger(value) ||
                 parser.parseComma());
}

template <typename PartT> static ParseResult parsePart(AsmParser &parser, PartT &part) {
  part = dyn_cast_or_null<PartT>(PartT::parse(parser, {}));
  return failure(!part);
}

static ParseResult parseTable(AsmParser &parser, SmallVector<int16_t> &table) {
  auto entry = [&] { return parser.parseInteger(table.emplace_back()); };
  return failure(parser.parseEqual() || parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, entry) ||
                 parser.parseComma());
}

static ParseResult parseMinimum(AsmParser &parser, FormatFields &fields) {
  if (failed(parser.parseOptionalComma()))
    return success();
  fields.minimumAdded = succeeded(parser.parseOptionalKeyword("plus"));
  if (!fields.minimumAdded && parser.parseKeyword("minus"))
    return failure();
  return failure(parser.parseEqual() || parsePart(parser, fields.minimum));
}

static ParseResult parseFields(AsmParser &parser, FormatFields &fields) {
  if (succeeded(parser.parseOptionalKeyword("gguf")) &&
      (parser.parseEqual() || parser.parseInteger(fields.ggufType) || parser.parseComma()))
    return failure();
  if (parseCount(parser, "block", fields.block) || parseCount(parser, "bytes", fields.bytes) ||
      parseCount(parser, "group", fields.group) || parser.parseKeyword("codes") || parser.parseEqual() ||
      parsePart(parser, fields.codes) || parser.parseComma())
    return failure();
  if (succeeded(parser.parseOptionalKeyword("table")) && parseTable(parser, fields.table))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("unit")) &&
      (parser.parseEqual() || parser.parseFloat(fields.unit) || parser.parseComma()))
    return failure();
  return failure(parser.parseKeyword("scale") || parser.parseEqual() || parsePart(parser, fields.scale) ||
                 parseMinimum(parser, fields));
}

Attribute FormatAttr::parse(AsmParser &parser, Type) {
  llvm::SMLoc loc = parser.getCurrentLocation();
  StringRef name;
  MLIRContext *context = parser.getContext();
  if (parser.parseLess() || parser.parseKeyword(&name))
    return {};
  if (succeeded(parser.parseOptionalGreater())) {
    FormatAttr known = context->getOrLoadDialect<DQDialect>()->getFormats().lookup(name);
    if (!known)
      parser.emitError(loc) << "no format is called '" << name << "'";
    return known;
  }
  FormatFields fields;
  if (parser.parseComma() || parseFields(parser, fields) || parser.parseGreater())
    return {};
  return parser.getChecked<FormatAttr>(loc, context, name, fields.ggufType, fields.block, fields.bytes, fields.group,
                                       fields.codes, fields.table,
                                       FloatAttr::get(Float32Type::get(context), fields.unit), fields.scale,
                                       fields.minimum, fields.minimumAdded);
}

void FormatAttr::print(AsmPrinter &printer) const {
  printer << '<' << getName();
  if (getGgufType() >= 0)
    printer << ", gguf = " << getGgufType();
  printer << ", block = " << getBlock() << ", bytes = " << getBytes() << ", group = " << getGroup() << ", codes =";
  getCodes().print(printer);
  if (!getTable().empty()) {
    printer << ", table = [";
    llvm::interleaveComma(getTable(), printer, [&](int16_t entry) { printer << int(entry); });
    printer << ']';
  }
  if (!getUnit().getValue().isExactlyValue(1.0)) {
    printer << ", unit = ";
    printer.printFloat(getUnit().getValue());
  }
  printer << ", scale =";
  getScale().print(printer);
  if (ScaleAttr minimum = getMinimum()) {
    printer << (getMinimumAdded() ? ", plus =" : ", minus =");
    minimum.print(printer);
  }
  printer << '>';
}

const quern::formats::FormatSpec &FormatAttr::getSpec() const {
  return getContext()->getLoadedDialect<DQDialect>()->getFormats().spec(*this);
}

LogicalResult PanelsAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, int64_t rows) {
  if (rows < 1)
    return emitError() << "expected at least one row in a panel, got " << rows;
  return success();
}
