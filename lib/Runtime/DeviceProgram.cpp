// Reads a device's program. As in a manifest, nothing is believed before it is checked here; whether the module has the
// kernels is found when they are looked up.
#include "quern/Runtime/DeviceProgram.h"

#include "JsonFields.h"
#include "quern/Runtime/Manifest.h"

#include <algorithm>
#include <optional>

namespace quern {
namespace {

using nlohmann::json;

constexpr int64_t kMostTokens = 65536;
constexpr int64_t kMostThreads = 1024;        // of a block, on every device that there is
constexpr int64_t kMostSharedBytes = 1 << 20; // several times what any device has; the driver knows better
constexpr int64_t kMostBlocks[3] = {INT32_MAX, 65535, 65535}; // CUDA C++ Programming Guide, compute capabilities
constexpr size_t kMostArguments = 128; // 1 KiB, the least that OpenCL promises (CL_DEVICE_MAX_PARAMETER_SIZE)
constexpr int64_t kMostCounters = 1 << 24;
constexpr const char *kKinds[] = {"weights", "arena",    "input", "output",  "choice",
                                  "draw",    "counters", "size",  "constant"};

/// An expression's value with overflow seen; `sizes` all the same.
std::optional<int64_t> valueAt(const SizeExpression &expression, int64_t sizes) {
  int64_t sum = expression.constant;
  for (int64_t factor : expression.perSize) {
    int64_t product;
    if (__builtin_mul_overflow(factor, sizes, &product) || __builtin_add_overflow(sum, product, &sum))
      return std::nullopt;
  }
  return sum;
}

class Reader {
public:
  Reader(const Manifest &manifest, uint64_t weightsBytes, const std::string &source)
      : manifest(manifest), weightsBytes(weightsBytes), fields(source) {}

  Result<DeviceProgram> read(const json &root);

private:
  SizeExpression expression(const json &parent, const char *key);
  void readPlans(const json &list);
  Launch readLaunch(const json &item);
  void readGrid(const json &item, Launch &launch);
  LaunchArgument readArgument(const json &item);
  LaunchCondition readCondition(const json &item);
  void checkPlace(const SizeExpression &place);
  void checkPlaces();
  /// Something wrong with the launch being read.
  void complain(const std::string &what) {
    fields.complain("launch " + std::to_string(launchIndex) + " of the plan for " + std::to_string(least) +
                    " tokens: " + what);
  }
  int64_t indexOf(const json &item, const char *what, size_t count);

  const Manifest &manifest;
  uint64_t weightsBytes;
  JsonFields fields;
  DeviceProgram out;
  int64_t least = 1, most = 1; ///< of the plan being read
  size_t launchIndex = 0;
};

SizeExpression Reader::expression(const json &parent, const char *key) {
  SizeExpression value;
  auto it = parent.is_object() ? parent.find(key) : parent.end();
  if (parent.is_object() && it != parent.end() && it->is_number()) {
    value.constant = fields.whole(*it, key, 0, kMaxBytes);
  } else if (const json *object = fields.object(parent, key)) {
    value.constant = fields.number(*object, "constant", 0, kMaxBytes);
    const json *factors = fields.array(*object, "perSize");
    for (const json &factor : factors ? *factors : json::array())
      value.perSize.push_back(fields.whole(factor, "perSize", 0, kMaxBytes));
    if (value.perSize.size() != manifest.sizes.size())
      fields.complain("'perSize' of '" + std::string(key) + "' should have one number for each of the " +
                      std::to_string(manifest.sizes.size()) + " sizes");
  }
  if (!valueAt(value, kMostTokens))
    fields.complain("'" + std::string(key) + "' is larger than any memory");
  return value;
}

int64_t Reader::indexOf(const json &item, const char *what, size_t count) {
  int64_t index = fields.number(item, "index", 0, kMaxCount);
  if (index >= int64_t(count))
    complain(std::string(what) + " " + std::to_string(index) + " is not one of the manifest's " +
             std::to_string(count));
  return index;
}

/// Place and arena are both linear in each size, so their least difference lies at the ends of the sizes' ranges.
void Reader::checkPlace(const SizeExpression &place) {
  int64_t room = out.arena.constant - place.constant;
  for (size_t i = 0; i < manifest.sizes.size(); ++i) {
    auto factor = [i](const SizeExpression &of) { return i < of.perSize.size() ? of.perSize[i] : 0; };
    int64_t difference = factor(out.arena) - factor(place);
    room += std::min(difference, difference * out.mostTokens());
  }
  if (room <= 0)
    complain("a place lies outside the arena");
}

/// When all is read: how large sizes can be is known only then.
void Reader::checkPlaces() {
  for (const LaunchPlan &plan : out.plans) {
    least = plan.least;
    launchIndex = 0;
    for (const Launch &launch : plan.launches) {
      for (const LaunchArgument &argument : launch.arguments)
        if (argument.kind == LaunchArgument::Kind::Arena)
          checkPlace(argument.place);
      ++launchIndex;
    }
  }
}

LaunchArgument Reader::readArgument(const json &item) {
  LaunchArgument argument{};
  std::string kind = fields.text(item, "kind");
  size_t number = size_t(std::find(std::begin(kKinds), std::end(kKinds), kind) - std::begin(kKinds));
  argument.kind = LaunchArgument::Kind(number);
  switch (argument.kind) {
  case LaunchArgument::Kind::Weights:
    argument.offset = fields.number(item, "offset", 0, kMaxBytes);
    if (uint64_t(argument.offset) >= weightsBytes)
      complain("offset " + std::to_string(argument.offset) + " lies outside the weights of " +
               std::to_string(weightsBytes) + " bytes");
    break;
  case LaunchArgument::Kind::Arena:
    argument.place = expression(item, "place");
    break;
  case LaunchArgument::Kind::Input:
    argument.index = indexOf(item, "input", manifest.inputs.size());
    break;
  case LaunchArgument::Kind::Output:
    argument.index = indexOf(item, "output", manifest.outputs.size());
    break;
  case LaunchArgument::Kind::Choice:
  case LaunchArgument::Kind::Draw:
    break;
  case LaunchArgument::Kind::Counters:
    if (out.counters == 0)
      complain("an argument is the address of counters, but the program has none");
    break;
  case LaunchArgument::Kind::Size:
    argument.index = indexOf(item, "size", manifest.sizes.size());
    break;
  case LaunchArgument::Kind::Constant:
    argument.offset = fields.number(item, "offset", INT64_MIN, INT64_MAX);
    break;
  default:
    complain("an argument has the unknown kind '" + kind + "'");
  }
  return argument;
}

void Reader::readGrid(const json &item, Launch &launch) {
  const json *grid = fields.array(item, "grid");
  if (!grid || grid->size() != 3)
    return complain("'grid' should have three dimensions");
  for (size_t i = 0; i < 3; ++i) {
    GridDimension &dimension = launch.grid[i];
    dimension.numerator = expression((*grid)[i], "numerator");
    dimension.divisor = fields.number((*grid)[i], "divisor", 1, kMaxBytes);
    std::optional<int64_t> largest = valueAt(dimension.numerator, most);
    if (!largest || *largest / dimension.divisor + (*largest % dimension.divisor != 0) > kMostBlocks[i])
      complain("the grid has more than " + std::to_string(kMostBlocks[i]) + " blocks in dimension " +
               std::to_string(i));
  }
}

LaunchCondition Reader::readCondition(const json &item) {
  const json *when = fields.object(item, "when");
  if (!when)
    return {};
  LaunchCondition condition{indexOf(*when, "size", manifest.sizes.size())};
  condition.least = fields.number(*when, "least", 0, INT64_MAX);
  condition.most = fields.number(*when, "most", condition.least, INT64_MAX);
  return condition;
}

Launch Reader::readLaunch(const json &item) {
  Launch launch;
  launch.kernel = fields.text(item, "kernel");
  launch.op = fields.text(item, "op");
  launch.name = fields.text(item, "name");
  launch.threads = fields.number(item, "threads", 1, kMostThreads);
  launch.sharedBytes = fields.number(item, "sharedBytes", 0, kMostSharedBytes);
  if (launch.kernel.empty() || launch.kernel.find('\0') != std::string::npos)
    complain("the kernel's name is malformed");
  readGrid(item, launch);
  if (item.contains("when"))
    launch.when = readCondition(item);
  const json *arguments = fields.array(item, "arguments");
  if (arguments && arguments->size() > kMostArguments)
    complain("more than " + std::to_string(kMostArguments) + " arguments");
  for (const json &argument : arguments ? *arguments : json::array())
    launch.arguments.push_back(readArgument(argument));
  return launch;
}

void Reader::readPlans(const json &list) {
  int64_t next = 1;
  for (const json &item : list) {
    least = fields.number(item, "least", 1, kMostTokens);
    most = fields.number(item, "most", 1, kMostTokens);
    if (least != next || most < least)
      fields.complain("a plan for " + std::to_string(least) + " to " + std::to_string(most) +
                      " tokens stands where one from " + std::to_string(next) + " on should");
    next = most + 1;
    LaunchPlan plan{least, most, {}};
    const json *launches = fields.array(item, "launches");
    launchIndex = 0;
    for (const json &launch : launches ? *launches : json::array()) {
      plan.launches.push_back(readLaunch(launch));
      ++launchIndex;
    }
    out.plans.push_back(std::move(plan));
  }
  if (out.plans.empty())
    fields.complain("there is no plan");
}

Result<DeviceProgram> Reader::read(const json &root) {
  int64_t version = fields.number(root, "version", 0, kMaxCount);
  if (fields.error.empty() && version != DeviceProgram::kVersion)
    return fail(fields.source + ": made for program version " + std::to_string(version) + ", this runtime has " +
                std::to_string(DeviceProgram::kVersion) + "; compile the model again");
  out.arena = expression(root, "arena");
  if (root.contains("counters"))
    out.counters = fields.number(root, "counters", 0, kMostCounters);
  if (root.contains("overlaps"))
    out.overlaps = fields.flag(root, "overlaps");
  if (const json *plans = fields.array(root, "plans"))
    readPlans(*plans);
  if (fields.error.empty())
    checkPlaces();
  if (!fields.error.empty())
    return fail(fields.error);
  return std::move(out);
}

} // namespace

bool Launch::takes(LaunchArgument::Kind kind) const {
  return std::any_of(arguments.begin(), arguments.end(),
                     [&](const LaunchArgument &argument) { return argument.kind == kind; });
}

static bool everyPlanTakes(const DeviceProgram &program, LaunchArgument::Kind kind) {
  return std::all_of(program.plans.begin(), program.plans.end(), [&](const LaunchPlan &plan) {
    return std::any_of(plan.launches.begin(), plan.launches.end(),
                       [&](const Launch &launch) { return launch.takes(kind); });
  });
}

bool DeviceProgram::choosesTokens() const { return everyPlanTakes(*this, LaunchArgument::Kind::Choice); }

bool DeviceProgram::drawsTokens() const { return choosesTokens() && everyPlanTakes(*this, LaunchArgument::Kind::Draw); }

Result<DeviceProgram> parseDeviceProgram(std::string_view text, const Manifest &manifest, uint64_t weightsBytes,
                                         const std::string &source) {
  json root = parseJson(text);
  if (!root.is_object())
    return fail(source + ": the program is not a JSON object");
  return Reader(manifest, weightsBytes, source).read(root);
}

} // namespace quern
