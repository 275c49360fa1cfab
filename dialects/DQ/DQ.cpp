// Registration of the `dq` dialect, its aliases, and its small types. Formats: FormatAttr.cpp and FormatRegistry.cpp.
#include "dialects/DQ/DQ.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace quern::dq;

/// Prints `#dq.format<...>`, or its alias.
static void printFormat(AsmPrinter &printer, FormatAttr format) { printer.printAttribute(format); }

/// Reads a format in full, or the name of a registered one.
static ParseResult parseFormat(AsmParser &parser, FormatAttr &format) {
  StringRef name;
  llvm::SMLoc loc = parser.getCurrentLocation();
  if (failed(parser.parseOptionalKeyword(&name)))
    return parser.parseAttribute(format);
  format = parser.getContext()->getOrLoadDialect<DQDialect>()->getFormats().lookup(name);
  if (!format)
    return parser.emitError(loc) << "no format is called '" << name << "'";
  return success();
}

/// The group that activations share a scale in: a number, or `row`.
static void printGroup(AsmPrinter &printer, int64_t group) {
  if (group == Act8Type::kRow)
    printer << "row";
  else
    printer << group;
}

static ParseResult parseGroup(AsmParser &parser, int64_t &group) {
  if (succeeded(parser.parseOptionalKeyword("row"))) {
    group = Act8Type::kRow;
    return success();
  }
  llvm::SMLoc loc = parser.getCurrentLocation();
  if (failed(parser.parseInteger(group)))
    return failure();
  if (group < 1)
    return parser.emitError(loc) << "expected a group that is a positive multiple of 16, or 'row', got " << group;
  return success();
}

/// What a matmul does with its products, where it is not nothing: `swiglu`.
static void printActivation(OpAsmPrinter &printer, Operation *, ActivationAttr activation) {
  if (activation.getValue() == Activation::Swiglu)
    printer << "swiglu";
}

static ParseResult parseActivation(OpAsmParser &parser, ActivationAttr &activation) {
  bool swiglu = succeeded(parser.parseOptionalKeyword("swiglu"));
  activation = ActivationAttr::get(parser.getContext(), swiglu ? Activation::Swiglu : Activation::None);
  return success();
}

#include "dialects/DQ/DQDialect.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/DQ/DQTypes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/DQ/DQOps.cpp.inc"

namespace {
/// A block type prints as an alias with its format's name, so that an IR file opens with the descriptions it uses.
struct FormatAliases : OpAsmDialectInterface {
  using OpAsmDialectInterface::OpAsmDialectInterface;
  AliasResult getAlias(Type type, raw_ostream &os) const override {
    auto block = dyn_cast<BlockType>(type);
    if (!block)
      return AliasResult::NoAlias;
    os << block.getFormat().getName();
    return AliasResult::FinalAlias;
  }
};
} // namespace

void DQDialect::initialize() {
  formats = std::make_unique<FormatRegistry>(getContext());
  registerAttributes();
  registerTypes();
  addOperations<
#define GET_OP_LIST
#include "dialects/DQ/DQOps.cpp.inc"
      >();
  addInterfaces<FormatAliases>();
}

void DQDialect::registerTypes() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/DQ/DQTypes.cpp.inc"
      >();
}

LogicalResult Act8Type::verify(llvm::function_ref<InFlightDiagnostic()> emitError, int64_t group) {
  if (group != kRow && (group < 16 || group % 16 != 0))
    return emitError() << "expected a group that is a positive multiple of 16, or 'row', got " << group;
  return success();
}
