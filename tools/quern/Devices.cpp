// `quern devices`: the accelerators of this machine, and why there is none of a kind.
#include "Command.h"
#include "Common.h"
#include "Table.h"

#include <nlohmann/json.hpp>


using namespace quern;
using namespace quern::cli;
using nlohmann::ordered_json;

static ordered_json toJson(const std::vector<api::Device> &devices) {
  ordered_json out = ordered_json::array();
  for (const api::Device &device : devices)
    if (!device.problem.empty())
      out.push_back({{"id", device.id}, {"problem", device.problem}}); // whose text names the device, if it is one
    else
      out.push_back(
          {{"id", device.id}, {"name", device.name}, {"target", device.target}, {"memory_bytes", device.memoryBytes}});
  return out;
}

static Status listDevices(bool asJson) {
  QUERN_ASSIGN(std::vector<api::Device> devices, lift(api::devices()));
  if (asJson) {
    std::printf("%s\n", toJson(devices).dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
    return {};
  }
  Table table({"device", "name", "target", ">memory"});
  bool usable = false;
  for (const api::Device &device : devices) {
    if (!device.problem.empty())
      continue;
    table.add({device.id, device.name, device.target, formatBytes(double(device.memoryBytes))});
    usable = true;
  }
  if (usable)
    table.print();
  for (const api::Device &device : devices)
    if (!device.problem.empty())
      std::printf("%s: %s%s\n", device.id.c_str(), device.name.empty() ? "none, " : "", device.problem.c_str());
  return {};
}

Command cli::addDevices(CLI::App &root) {
  CLI::App *app = root.add_subcommand("devices", "List the devices besides the processor that can run models");
  auto asJson = std::make_shared<bool>(false);
  app->add_flag("--json", *asJson, "Print JSON");
  app->footer("\nExamples:\n"
              "  quern devices\n"
              "  quern compile model.gguf --target nvptx:sm_80 -o model.quern\n"
              "  quern run model.quern --device cuda:0");
  return {app, [asJson] { return listDevices(*asJson); }};
}
