// The host's functions of a module as a DeviceProgram: what they compute of addresses and sizes becomes expressions.
#include "HostFunction.h"
#include "quern/Codegen/DeviceCode.h"

#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Tools/mlir-translate/Translation.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// The launches of one function.
class PlanReader {
public:
  explicit PlanReader(func::FuncOp function) : function(function) {
    sizeCount = llvm::count_if(function.getArguments(), [&](BlockArgument value) { return is(value) == "size"; });
  }

  FailureOr<LaunchPlan> run() {
    auto range = function->getAttrOfType<DenseI64ArrayAttr>(kHostTokens).asArrayRef();
    plan.least = range[0];
    plan.most = range[1];
    for (Operation &op : function.front().without_terminator())
      if (failed(translate(&op, std::nullopt)))
        return failure();
    return std::move(plan);
  }

private:
  StringRef is(BlockArgument value) {
    auto attribute = function.getArgAttrOfType<StringAttr>(value.getArgNumber(), kHostArgument);
    return attribute ? attribute.getValue() : "";
  }
  int64_t indexOf(BlockArgument value) {
    return function.getArgAttrOfType<IntegerAttr>(value.getArgNumber(), kHostIndex).getInt();
  }

  LogicalResult translate(Operation *op, std::optional<LaunchCondition> when) {
    if (auto launch = dyn_cast<gpu::LaunchFuncOp>(op))
      return translate(launch, when);
    auto conditional = dyn_cast<scf::IfOp>(op);
    if (!conditional)
      return isMemoryEffectFree(op) ? success() : op->emitError("has no place in a device's program");
    FailureOr<LaunchCondition> condition = conditionOf(conditional.getCondition());
    if (when || failed(condition) || !conditional.getElseRegion().empty())
      return op->emitError("expected launches where one size compares with a constant");
    for (Operation &inner : conditional.thenBlock()->without_terminator())
      if (failed(translate(&inner, *condition)))
        return failure();
    return success();
  }

  FailureOr<LaunchCondition> conditionOf(Value value) {
    auto compare = value.getDefiningOp<arith::CmpIOp>();
    auto size = compare ? dyn_cast<BlockArgument>(compare.getLhs()) : BlockArgument();
    APInt bound;
    if (!size || is(size) != "size" || !matchPattern(compare.getRhs(), m_ConstantInt(&bound)))
      return failure();
    int64_t least = bound.getSExtValue();
    if (compare.getPredicate() == arith::CmpIPredicate::eq)
      return LaunchCondition{indexOf(size), least, least};
    if (compare.getPredicate() == arith::CmpIPredicate::sge)
      return LaunchCondition{indexOf(size), least};
    return failure();
  }

  LogicalResult translate(gpu::LaunchFuncOp op, std::optional<LaunchCondition> when) {
    Launch launch;
    launch.kernel = op.getKernelName().str();
    launch.op = op->getAttrOfType<StringAttr>(kHostOp).str();
    launch.name = op->getAttrOfType<StringAttr>(kHostName).str();
    launch.when = when;
    gpu::KernelDim3 grid = op.getGridSizeOperandValues();
    const Value dimensions[] = {grid.x, grid.y, grid.z};
    for (auto [dimension, value] : llvm::zip(launch.grid, dimensions))
      if (failed(readDimension(value, dimension)))
        return op.emitError("a dimension of the grid is no linear expression of sizes over a constant");
    FailureOr<SizeExpression> threads = linear(op.getBlockSizeX(), "size");
    if (failed(threads) || !threads->perSize.empty())
      return op.emitError("the size of a block is no constant");
    launch.threads = threads->constant;
    if (Value shared = op.getDynamicSharedMemorySize()) {
      FailureOr<SizeExpression> bytes = linear(shared, "size");
      if (failed(bytes) || !bytes->perSize.empty())
        return op.emitError("the size of dynamic shared memory is no constant");
      launch.sharedBytes = bytes->constant;
    }
    for (Value operand : op.getKernelOperands()) {
      FailureOr<LaunchArgument> argument = argumentOf(operand);
      if (failed(argument))
        return op.emitError("argument ") << launch.arguments.size() << " is nothing that a device's program can give";
      launch.arguments.push_back(*argument);
    }
    plan.launches.push_back(std::move(launch));
    return success();
  }

  LogicalResult readDimension(Value value, GridDimension &dimension) {
    if (auto cast = value.getDefiningOp<arith::IndexCastOp>())
      value = cast.getIn();
    if (auto quotient = value.getDefiningOp<arith::CeilDivUIOp>()) {
      APInt divisor;
      if (!matchPattern(quotient.getRhs(), m_ConstantInt(&divisor)))
        return failure();
      dimension.divisor = divisor.getSExtValue();
      value = quotient.getLhs();
    }
    FailureOr<SizeExpression> numerator = linear(value, "size");
    if (failed(numerator))
      return failure();
    dimension.numerator = *numerator;
    return success();
  }

  FailureOr<LaunchArgument> argumentOf(Value value) {
    using Kind = LaunchArgument::Kind;
    if (value.getType().isInteger(64))
      return numberOf(value);
    SizeExpression offset;
    while (auto element = value.getDefiningOp<LLVM::GEPOp>()) {
      FailureOr<SizeExpression> bytes = bytesOf(element);
      if (failed(bytes))
        return failure();
      offset = sum(offset, *bytes);
      value = element.getBase();
    }
    auto base = dyn_cast<BlockArgument>(value);
    if (!base)
      return failure();
    if (is(base) == "arena")
      return LaunchArgument{Kind::Arena, 0, 0, offset};
    if (!offset.perSize.empty())
      return failure();
    if (is(base) == "weights")
      return LaunchArgument{Kind::Weights, offset.constant, 0, {}};
    if (offset.constant != 0)
      return failure();
    if (is(base) == "choice")
      return LaunchArgument{Kind::Choice, 0, 0, {}};
    if (is(base) == "draw")
      return LaunchArgument{Kind::Draw, 0, 0, {}};
    if (is(base) == "counters")
      return LaunchArgument{Kind::Counters, 0, 0, {}};
    return LaunchArgument{is(base) == "input" ? Kind::Input : Kind::Output, 0, indexOf(base), {}};
  }

  FailureOr<LaunchArgument> numberOf(Value value) {
    APInt constant;
    if (matchPattern(value, m_ConstantInt(&constant)))
      return LaunchArgument{LaunchArgument::Kind::Constant, constant.getSExtValue(), 0, {}};
    auto size = dyn_cast<BlockArgument>(value);
    if (!size || is(size) != "size")
      return failure();
    return LaunchArgument{LaunchArgument::Kind::Size, 0, indexOf(size), {}};
  }

  FailureOr<SizeExpression> bytesOf(LLVM::GEPOp element) {
    if (element.getElemType() != IntegerType::get(element.getContext(), 8) || element.getIndices().size() != 1)
      return failure();
    auto index = element.getIndices()[0];
    if (auto constant = dyn_cast<IntegerAttr>(index))
      return SizeExpression{constant.getInt(), {}};
    return linear(cast<Value>(index), "most");
  }

  SizeExpression sum(const SizeExpression &a, const SizeExpression &b) {
    SizeExpression out{a.constant + b.constant, a.perSize};
    if (!b.perSize.empty())
      out.perSize.resize(sizeCount);
    for (size_t i = 0; i < b.perSize.size(); ++i)
      out.perSize[i] += b.perSize[i];
    return out;
  }

  /// A linear expression of the arguments that are of kind `of`.
  FailureOr<SizeExpression> linear(Value value, StringRef of) {
    APInt constant;
    if (matchPattern(value, m_ConstantInt(&constant)))
      return SizeExpression{constant.getSExtValue(), {}};
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      if (is(argument) != of)
        return failure();
      SizeExpression out{0, std::vector<int64_t>(sizeCount)};
      out.perSize[size_t(indexOf(argument))] = 1;
      return out;
    }
    if (auto cast = value.getDefiningOp<arith::IndexCastOp>())
      return linear(cast.getIn(), of);
    Operation *op = value.getDefiningOp();
    if (!op || op->getNumOperands() != 2)
      return failure();
    FailureOr<SizeExpression> a = linear(op->getOperand(0), of), b = linear(op->getOperand(1), of);
    if (failed(a) || failed(b))
      return failure();
    if (isa<arith::AddIOp>(op))
      return sum(*a, *b);
    if (!isa<arith::MulIOp>(op) || !b->perSize.empty())
      return failure();
    a->constant *= b->constant;
    for (int64_t &factor : a->perSize)
      factor *= b->constant;
    return a;
  }

  func::FuncOp function;
  size_t sizeCount = 0;
  LaunchPlan plan;
};

} // namespace

FailureOr<DeviceProgram> codegen::translateToProgram(ModuleOp module) {
  DeviceProgram program;
  program.overlaps = module->hasAttr(kHostOverlaps);
  for (auto function : module.getOps<func::FuncOp>()) {
    auto bytes = function->getAttrOfType<DenseI64ArrayAttr>(kHostArena);
    if (!bytes)
      continue;
    FailureOr<LaunchPlan> plan = PlanReader(function).run();
    if (failed(plan))
      return failure();
    program.plans.push_back(std::move(*plan));
    program.arena.constant = std::max(program.arena.constant, bytes[0]);
    if (auto counters = function->getAttrOfType<IntegerAttr>(kHostCounters))
      program.counters = std::max(program.counters, counters.getInt());
    auto perSize = bytes.asArrayRef().drop_front(); // all plans share one memory plan
    program.arena.perSize.assign(perSize.begin(), perSize.end());
  }
  if (program.plans.empty())
    return module.emitError("holds no function that launches kernels");
  return program;
}

void codegen::registerProgramTranslation() {
  auto translate = [](ModuleOp module, llvm::raw_ostream &output) -> LogicalResult {
    FailureOr<DeviceProgram> program = translateToProgram(module);
    if (succeeded(program))
      output << printDeviceProgram(*program);
    return program;
  };
  TranslateFromMLIRRegistration registration("gpu-to-program", "the launches of a device's program as JSON", translate,
                                             [](DialectRegistry &registry) {
                                               registry.insert<dq::DQDialect, lm::LMDialect, func::FuncDialect>();
                                               registerPtxDialects(registry);
                                             });
}
