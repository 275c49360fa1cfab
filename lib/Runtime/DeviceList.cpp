#include "DeviceList.h"

#include "CudaDevice.h"
#include "OpenClDevice.h"

#include <algorithm>
#include <charconv>

namespace quern::runtime {

static constexpr DeviceKind kKinds[] = {{"cuda", listCudaDevices, cudaRuns, openCudaDevice},
                                        {"opencl", listOpenClDevices, openClRuns, openOpenClDevice}};

std::span<const DeviceKind> deviceKinds() { return kKinds; }

static std::string join(const std::vector<std::string> &parts, const char *between) {
  std::string out;
  for (const std::string &part : parts)
    out += (out.empty() ? "" : between) + part;
  return out;
}

/// "cuda:1" as "cuda" and 1, "cuda" as "cuda" and -1; false for other forms.
static bool splitName(const std::string &name, std::string &api, int &index) {
  size_t colon = name.find(':');
  api = name.substr(0, colon);
  index = -1;
  if (colon == std::string::npos)
    return true;
  const char *begin = name.data() + colon + 1, *end = name.data() + name.size();
  auto [stop, error] = std::from_chars(begin, end, index);
  return error == std::errc() && stop == end && index >= 0;
}

Outcome<std::vector<DeviceChoice>> findDevices(const std::string &name) {
  std::string api;
  int index = -1;
  auto isOf = [&](const DeviceKind &kind) { return api == kind.api; };
  bool any = name == "auto";
  if (!any && (!splitName(name, api, index) || std::none_of(std::begin(kKinds), std::end(kKinds), isOf))) {
    std::string known;
    for (const DeviceKind &kind : kKinds)
      known += std::string(", ") + kind.api + ", " + kind.api + ":N";
    return fault(QUERN_INVALID_ARGUMENT, "'" + name + "' names no device; it should be one of cpu, auto" + known);
  }
  std::vector<DeviceChoice> found;
  std::vector<std::string> there, problems;
  for (const DeviceKind &kind : kKinds) {
    if (!any && !isOf(kind))
      continue;
    auto devices = kind.list();
    if (!devices) {
      problems.push_back(std::move(devices).error().message);
      continue;
    }
    for (size_t i = 0; i < devices->size(); ++i) {
      const DeviceInfo &device = (*devices)[i];
      bool isMeant = index < 0 || int(i) == index;
      std::string problem = device.problem, described = device.id + " (" + device.name + ")";
      if (any && device.isProcessor && problem.empty()) // the package's own code for it is faster
        problem = described + " is a processor, which is taken only where it is asked for";
      if (!problem.empty() && isMeant)
        problems.push_back(problem);
      if (!problem.empty())
        continue;
      there.push_back(described);
      if (isMeant)
        found.push_back({&kind, int(i), device});
    }
  }
  if (!found.empty())
    return found;
  if (!problems.empty())
    return fault(QUERN_UNSUPPORTED, join(problems, "; "));
  return fault(QUERN_UNSUPPORTED,
               "there is no device " + name + (there.empty() ? "" : "; there are " + join(there, ", ")));
}

} // namespace quern::runtime
