#include "BenchCosts.h"

#include "MachineLimits.h"

#include <algorithm>
#include <map>

using namespace quern;
using namespace quern::cli;

static Share shareOf(const Measured &m, double amount, double Limits::*limit) {
  Share out{amount};
  std::vector<double> parts;
  for (size_t i = 0; i < m.nanoseconds.size(); ++i) {
    double most = m.limits[i].*limit;
    parts.push_back(most > 0 ? amount / (double(m.nanoseconds[i]) / 1e9) / most : 0);
  }
  out.part = median(parts);
  double most = median(m.limits).*limit;
  out.seconds = most > 0 ? amount / most : 0;
  return out;
}

Share cli::memoryShare(const Measured &m) {
  double bytes = 0;
  for (const StepShape &step : m.test.steps(m.info.chunk_tokens))
    for (const OpRecord &op : m.ops)
      bytes += op.memoryBytes(step);
  return shareOf(m, bytes, &Limits::read);
}

Share cli::unitShare(const Measured &m, const Unit &unit) {
  double operations = 0;
  for (const StepShape &step : m.test.steps(m.info.chunk_tokens))
    for (const OpRecord &op : m.ops)
      if (op.unit == unit.name)
        operations += op.operations(step);
  return shareOf(m, operations, unit.limit);
}

Bound cli::boundOf(const Measured &m) {
  Share memory = memoryShare(m);
  Bound out{{}, &kUnits[0]};
  for (const Unit &unit : kUnits)
    if (Share share = unitShare(m, unit); share.seconds > out.share.seconds)
      out = {share, &unit};
  bool prompt = m.test.prompt > 0, several = m.test.sequences > 1;
  return prompt || (several && out.share.seconds > memory.seconds) ? out : Bound{memory, nullptr};
}

std::vector<KernelTotal> cli::kernelTotals(const Measured &m) {
  std::map<std::string, KernelTotal> totals;
  std::vector<StepShape> steps = m.test.steps(m.info.chunk_tokens);
  Limits limits = median(m.limits);
  for (size_t i = 0; i < m.opNanoseconds.size(); ++i) {
    const OpRecord &op = m.ops[i];
    if (!m.device.empty() && m.opNanoseconds[i] == 0)
      continue;
    KernelTotal &total = totals[op.kernel];
    total.kernel = op.kernel;
    total.op = op.op;
    total.measured += m.opNanoseconds[i] / 1e9;
    for (const StepShape &step : steps) {
      ++total.calls;
      total.bytes += op.bytes(step);
      total.operations += op.operations(step);
      total.predicted += op.predicted(step, limits);
    }
  }
  std::vector<KernelTotal> out;
  for (auto &[name, total] : totals)
    if (total.measured > 0 || m.device.empty()) // a test uses few of a device's plans
      out.push_back(std::move(total));
  std::ranges::sort(out, [&](const auto &a, const auto &b) {
    return m.device.empty() ? a.ratio() > b.ratio() : a.measured > b.measured;
  });
  return out;
}
