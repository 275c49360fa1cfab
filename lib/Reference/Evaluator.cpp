// Calls functions: arguments in, op after op, results out; twice where codes come from the exact evaluation.
#include "quern/Reference/Evaluator.h"

#include "Evaluation.h"

using namespace mlir;
using namespace quern;
using namespace quern::reference;

Status Evaluation::bind(BlockArgument parameter, Evaluator::Argument argument) {
  std::string place = "argument " + std::to_string(parameter.getArgNumber());
  auto type = dyn_cast<RankedTensorType>(parameter.getType());
  if (!type) {
    if (!std::holds_alternative<std::monostate>(argument))
      return fail(place + " is no tensor");
    return set(parameter, std::monostate());
  }
  if (auto *rows = std::get_if<Rows>(&argument); rows && type.getRank() == 2 && rows->width == type.getDimSize(1))
    return set(parameter, std::move(*rows));
  if (auto *ids = std::get_if<Ids>(&argument); ids && type.getRank() == 1)
    return set(parameter, std::move(*ids));
  return fail(place + " does not fit its type");
}

Result<std::vector<Rows>> Evaluation::run(func::FuncOp function, std::vector<Evaluator::Argument> arguments) {
  if (function.isDeclaration() || !function.getBody().hasOneBlock())
    return fail("function '" + function.getName().str() + "' is not one block");
  if (arguments.size() != function.getNumArguments())
    return fail("function '" + function.getName().str() + "' takes " + std::to_string(function.getNumArguments()) +
                " arguments, got " + std::to_string(arguments.size()));
  for (auto [parameter, argument] : llvm::zip(function.getArguments(), arguments))
    QUERN_TRY(bind(parameter, std::move(argument)));
  for (Operation &op : function.front().without_terminator())
    if (Status done = evaluate(&op); !done) {
      std::string message;
      llvm::raw_string_ostream(message) << op.getName() << " at " << op.getLoc() << ": " << done.error().message;
      return fail(message);
    }
  std::vector<Rows> results;
  for (Value value : function.front().getTerminator()->getOperands()) {
    auto *result = std::get_if<Rows>(&values[value]);
    if (!result)
      return fail("function '" + function.getName().str() + "' returns what is no rows of f32");
    results.push_back(*result);
  }
  return results;
}

Evaluator::Evaluator(ModuleOp module, WeightSource source, Options options)
    : module(module), options(options), weights(std::make_unique<WeightCache>(std::move(source), options.threads)),
      inDouble(makeDoubleArithmetic(options.threads)),
      exact(makeExactArithmetic(options.multiplyAdd, options.threads)) {}

Evaluator::~Evaluator() = default;

Result<std::vector<Rows>> Evaluator::call(StringRef name, std::vector<Argument> arguments) {
  auto function = module.lookupSymbol<func::FuncOp>(name);
  if (!function)
    return fail("the module has no function '" + name.str() + "'");
  Codes codes;
  Evaluation evaluation(*weights, *inDouble, cache, options.cache);
  if (options.precision != Precision::Double) {
    Evaluation exactly(*weights, *exact, exactCache, options.cache);
    exactly.noteCodes(codes);
    Result<std::vector<Rows>> results = exactly.run(function, arguments);
    if (!results || options.precision == Precision::Exact)
      return results;
    evaluation.takeCodes(codes);
  }
  return evaluation.run(function, std::move(arguments));
}

Result<Rows> Evaluator::step(const Ids &tokens, const Ids &positions, const Ids &outputRows) {
  for (auto function : module.getOps<func::FuncOp>()) {
    std::vector<Argument> arguments;
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      auto named = function.getArgAttrOfType<StringAttr>(i, lm::kNameAttr);
      StringRef name = named ? named.getValue() : StringRef();
      if (name == "token_ids")
        arguments.emplace_back(tokens);
      else if (name == "positions")
        arguments.emplace_back(positions);
      else if (name == "output_rows")
        arguments.emplace_back(outputRows);
      else if (isa<lm::CacheType>(function.getArgument(i).getType()))
        arguments.emplace_back();
    }
    if (arguments.empty() || arguments.size() != function.getNumArguments())
      continue;
    QUERN_ASSIGN(std::vector<Rows> results, call(function.getName(), std::move(arguments)));
    if (results.size() != 1)
      return fail("function '" + function.getName().str() + "' returns " + std::to_string(results.size()) +
                  " results; a step has one, the logits");
    return std::move(results[0]);
  }
  return fail("the module has no function of token_ids, positions, output_rows and a cache");
}
