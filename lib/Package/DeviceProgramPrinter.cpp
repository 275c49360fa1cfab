// Writes a device's program; the inverse of parseDeviceProgram.
#include "quern/Runtime/DeviceProgram.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace quern {

using nlohmann::ordered_json;
using Kind = LaunchArgument::Kind;

static ordered_json printExpression(const SizeExpression &expression) {
  bool varies = std::any_of(expression.perSize.begin(), expression.perSize.end(), [](int64_t f) { return f != 0; });
  if (!varies)
    return expression.constant;
  return {{"constant", expression.constant}, {"perSize", expression.perSize}};
}

static ordered_json printArgument(const LaunchArgument &argument) {
  switch (argument.kind) {
  case Kind::Weights:
    return {{"kind", "weights"}, {"offset", argument.offset}};
  case Kind::Arena:
    return {{"kind", "arena"}, {"place", printExpression(argument.place)}};
  case Kind::Input:
    return {{"kind", "input"}, {"index", argument.index}};
  case Kind::Output:
    return {{"kind", "output"}, {"index", argument.index}};
  case Kind::Choice:
    return {{"kind", "choice"}};
  case Kind::Draw:
    return {{"kind", "draw"}};
  case Kind::Counters:
    return {{"kind", "counters"}};
  case Kind::Size:
    return {{"kind", "size"}, {"index", argument.index}};
  case Kind::Constant:
    return {{"kind", "constant"}, {"offset", argument.offset}};
  }
  return nullptr;
}

static ordered_json printLaunch(const Launch &launch) {
  ordered_json grid = ordered_json::array(), arguments = ordered_json::array();
  for (const GridDimension &dimension : launch.grid)
    grid.push_back({{"numerator", printExpression(dimension.numerator)}, {"divisor", dimension.divisor}});
  for (const LaunchArgument &argument : launch.arguments)
    arguments.push_back(printArgument(argument));
  ordered_json record = {{"kernel", launch.kernel},   {"op", launch.op},
                         {"name", launch.name},       {"grid", grid},
                         {"threads", launch.threads}, {"sharedBytes", launch.sharedBytes},
                         {"arguments", arguments}};
  if (launch.when)
    record["when"] = {{"index", launch.when->index}, {"least", launch.when->least}, {"most", launch.when->most}};
  return record;
}

std::string printDeviceProgram(const DeviceProgram &program) {
  ordered_json root;
  root["version"] = DeviceProgram::kVersion;
  root["arena"] = printExpression(program.arena);
  if (program.counters)
    root["counters"] = program.counters;
  if (program.overlaps)
    root["overlaps"] = true;
  root["plans"] = ordered_json::array();
  for (const LaunchPlan &plan : program.plans) {
    ordered_json launches = ordered_json::array();
    for (const Launch &launch : plan.launches)
      launches.push_back(printLaunch(launch));
    root["plans"].push_back({{"least", plan.least}, {"most", plan.most}, {"launches", launches}});
  }
  // A tensor's name that is not UTF-8 is shown with U+FFFD rather than refused. No indentation: there are thousands of
  // launches, and nobody reads them as they are.
  return root.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

} // namespace quern
