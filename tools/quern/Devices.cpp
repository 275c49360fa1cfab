// `quern devices`: the accelerators of this machine, and why there is none of a kind.
#include "Command.h"
#include "Common.h"
#include "Table.h"

#include <nlohmann/json.hpp>

#include <algorithm>

using namespace quern;
using namespace quern::cli;
using nlohmann::ordered_json;

static Status listDevices(bool asJson) {
  ordered_json devices = ordered_json::array();
  auto add = [](void *user, const quern_device_info *info) {
    ordered_json record = {{"id", info->id}};
    if (*info->problem)
      record["problem"] = info->problem;
    else
      record.update({{"name", info->name}, {"target", info->target}, {"memory_bytes", info->memory_bytes}});
    static_cast<ordered_json *>(user)->push_back(std::move(record));
    return 0;
  };
  if (quern_devices_visit(add, &devices) != QUERN_OK)
    return fail(quern_last_error());
  if (asJson) {
    std::printf("%s\n", devices.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
    return {};
  }
  auto isDevice = [](const ordered_json &device) { return !device.contains("problem"); };
  Table table({"device", "name", "target", ">memory"});
  for (const ordered_json &device : devices)
    if (isDevice(device))
      table.add({device["id"], device["name"], device["target"], formatBytes(device["memory_bytes"])});
  if (std::any_of(devices.begin(), devices.end(), isDevice))
    table.print();
  for (const ordered_json &device : devices)
    if (!isDevice(device))
      std::printf("%s: none, %s\n", device["id"].get<std::string>().c_str(),
                  device["problem"].get<std::string>().c_str());
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
