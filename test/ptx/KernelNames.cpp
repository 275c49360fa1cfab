#include "test/ptx/KernelNames.h"

#include <algorithm>

namespace quern::ptx {
namespace {

constexpr std::array<std::string_view, 14> kSpecials = {"%tid.x",    "%tid.y",    "%tid.z",   "%ntid.x",  "%ntid.y",
                                                        "%ntid.z",   "%ctaid.x",  "%ctaid.y", "%ctaid.z", "%nctaid.x",
                                                        "%nctaid.y", "%nctaid.z", "%laneid",  "%warpid"};

} // namespace

KernelNames::KernelNames(const SyntaxModule &module, const SyntaxKernel &syntax, Kernel &kernel)
    : syntax(syntax), kernel(kernel) {
  newSlot(0); // the sink
  for (const SyntaxVariable &parameter : syntax.parameters) {
    uint32_t at = (kernel.parameterBytes + parameter.alignment - 1) / parameter.alignment * parameter.alignment;
    kernel.parameters.push_back({parameter.name, at, parameter.bytes});
    kernel.parameterBytes = at + parameter.bytes;
  }
  place(kernel.shared, syntax.shared, kernel.sharedBytes);
  for (bool sized : {true, false}) // those of unknown size come last
    for (const SyntaxVariable &variable : module.shared)
      if ((variable.bytes > 0) == sized)
        place(kernel.shared, {variable}, kernel.sharedBytes);
  kernel.dynamicShared = !kernel.shared.empty() && kernel.shared.back().bytes == 0;
  place(kernel.local, syntax.local, kernel.localBytes);
}

void KernelNames::place(std::vector<Place> &into, const std::vector<SyntaxVariable> &variables, uint32_t &end) {
  for (const SyntaxVariable &variable : variables) {
    uint32_t step = 2 * variable.alignment;
    uint32_t at = end / step * step + variable.alignment;
    if (at < end)
      at += step;
    into.push_back({variable.name, at, variable.bytes});
    end = at + variable.bytes;
  }
}

uint32_t KernelNames::newSlot(uint64_t initial) {
  kernel.initial.push_back(initial);
  return uint32_t(kernel.initial.size() - 1);
}

uint32_t KernelNames::constant(uint64_t bits) {
  auto [at, added] = constants.try_emplace(bits, 0);
  if (added)
    at->second = newSlot(bits);
  return at->second;
}

std::optional<uint32_t> KernelNames::slot(const std::string &name, uint64_t added) {
  for (const std::vector<Place> *places : {&kernel.parameters, &kernel.shared, &kernel.local})
    for (const Place &place : *places)
      if (place.name == name)
        return constant(place.address + added);
  if (auto found = slots.find(name); found != slots.end())
    return found->second;
  auto special = std::ranges::find(kSpecials, name);
  if (special == kSpecials.end() && !syntax.registers.contains(name))
    return std::nullopt;
  uint32_t made = newSlot(0);
  if (special != kSpecials.end())
    kernel.specials.emplace_back(made, Special(special - kSpecials.begin()));
  slots.emplace(name, made);
  return made;
}

std::optional<uint32_t> KernelNames::label(const std::string &name) const {
  auto found = syntax.labels.find(name);
  return found == syntax.labels.end() ? std::nullopt : std::optional(found->second);
}

} // namespace quern::ptx
