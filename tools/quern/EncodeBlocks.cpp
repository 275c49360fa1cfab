// `quern-compiler encode`: raw f32 on standard input to blocks of a format on standard output, nearest values. Makes
// test files of every format; not for people, so `quern` does not show it.
#include "CompilerCommands.h"

#include "quern/Formats/Encoder.h"

#include "dialects/DQ/DQ.h"

#include "mlir/IR/MLIRContext.h"

#include <cmath>
#include <cstdio>

using namespace quern;
using namespace quern::cli;

static Status encode(const std::string &name) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  dq::FormatAttr format = context.getOrLoadDialect<dq::DQDialect>()->getFormats().lookup(name);
  if (!format)
    return fail("there is no block format '" + name + "'");
  const formats::FormatSpec &spec = format.getSpec();
  formats::Encoder encoder(spec);
  std::vector<float> weights(size_t(spec.block));
  std::vector<uint8_t> block(size_t(spec.bytes));
  size_t read;
  while ((read = std::fread(weights.data(), sizeof(float), weights.size(), stdin)) == weights.size()) {
    for (float weight : weights)
      if (!std::isfinite(weight))
        return fail("the input holds a value that is infinite or no number");
    encoder.encodeRow(weights.data(), spec.block, block.data());
    if (std::fwrite(block.data(), 1, block.size(), stdout) != block.size())
      return fail("cannot write to standard output");
  }
  if (read != 0)
    return fail("the input is not a whole number of blocks of " + std::to_string(spec.block) + " weights");
  return {};
}

Command cli::addEncodeBlocks(CLI::App &root) {
  CLI::App *app = root.add_subcommand("encode", "Encode raw f32 from standard input into blocks");
  auto name = std::make_shared<std::string>();
  app->add_option("format", *name, "Name of the block format, e.g. q4_K")->required();
  return {app, [name] { return encode(*name); }};
}
