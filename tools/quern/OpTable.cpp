#include "OpTable.h"

#include "quern/Runtime/DeviceProgram.h"
#include "quern/Runtime/Manifest.h"

#include "quern/Package/PackageFormat.h"
#include "quern/Support/Json.h"

#include <algorithm>

using namespace quern;
using namespace quern::cli;
using nlohmann::ordered_json;

double Limits::peak(std::string_view unit) const {
  for (const Unit &known : kUnits)
    if (unit == known.name)
      return this->*known.limit;
  return 0;
}

double OpRecord::memoryBytes(const StepShape &step) const {
  if (rows(step) == 0)
    return 0;
  return double(weightBytes) + double(weightBytesPerRow) * rows(step) + double(cacheBytesPerKey) * double(step.keys);
}

double OpRecord::bytes(const StepShape &step) const {
  return memoryBytes(step) + double(activationBytesPerRow) * rows(step);
}

double OpRecord::operations(const StepShape &step) const {
  return double(operationsPerRow) * rows(step) + double(operationsPerPair) * double(step.pairs);
}

double OpRecord::predicted(const StepShape &step, const Limits &limits) const {
  double computed = operations(step);
  return std::max(bytes(step) / limits.read, computed > 0 ? computed / limits.peak(unit) : 0);
}

Result<ordered_json> cli::readPlan(const package::PackageReader &reader) {
  const package::Section *section = reader.find(package::kPlan);
  if (!section)
    return ordered_json();
  ordered_json plan = parseJson<ordered_json>(textOf(section));
  if (plan.is_discarded())
    return fail("the section 'plan' of '" + reader.path() +
                "' is not JSON, or nested too deep: compile the model again");
  return plan;
}

Result<std::vector<OpRecord>> cli::readOpTable(const ordered_json &plan, const std::string &target,
                                               const std::string &path) {
  std::vector<OpRecord> out;
  const ordered_json empty = ordered_json::array();
  bool known = plan.is_object() && plan.contains("ops") && plan["ops"].is_object() && plan["ops"].contains(target);
  bool whole = true;
  for (const ordered_json &record : known ? plan["ops"][target] : empty) {
    auto text = [&](const char *key) -> std::string {
      bool there = record.is_object() && record.contains(key) && record[key].is_string();
      whole &= there;
      return there ? record[key].get<std::string>() : std::string();
    };
    auto number = [&](const char *key) -> int64_t {
      bool there = record.is_object() && record.contains(key) && record[key].is_number_integer();
      whole &= there;
      return there ? record[key].get<int64_t>() : 0;
    };
    out.push_back({text("kernel"), text("op"), text("name"), text("size"), text("unit"), number("weight_bytes"),
                   number("weight_bytes_per_row"), number("activation_bytes_per_row"), number("cache_bytes_per_key"),
                   number("operations_per_row"), number("operations_per_pair")});
  }
  if (!whole)
    return fail("the op table in the section 'plan' of '" + path + "' is incomplete: compile the model again");
  return out;
}

Result<std::vector<OpRecord>> cli::readLaunches(const package::PackageReader &reader, const std::string &target) {
  QUERN_ASSIGN(const package::Section *manifestSection, reader.require(package::kManifest));
  QUERN_ASSIGN(Manifest manifest, parseManifest(textOf(manifestSection), reader.path()));
  QUERN_ASSIGN(const package::Section *weights, reader.require(package::kDeviceWeights));
  std::vector<OpRecord> out;
  for (const Manifest::Device &device : manifest.devices) {
    if (device.target != target)
      continue;
    QUERN_ASSIGN(const package::Section *section, reader.require(device.program));
    QUERN_ASSIGN(DeviceProgram program,
                 parseDeviceProgram(textOf(section), manifest, weights->bytes.size(), reader.path()));
    for (const LaunchPlan &plan : program.plans)
      for (const Launch &launch : plan.launches)
        out.push_back({launch.kernel, launch.op, launch.name, "tokens", "", 0, 0, 0, 0, 0, 0});
    break;
  }
  return out;
}
