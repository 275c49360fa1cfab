#include "test/ptx/KernelNames.h"

#include <algorithm>

namespace quern::ptx {
namespace {

constexpr std::array<std::string_view, 14> kSpecials = {"%tid.x",    "%tid.y",    "%tid.z",   "%ntid.x",  "%ntid.y",
                                                        "%ntid.z",   "%ctaid.x",  "%ctaid.y", "%ctaid.z", "%nctaid.x",
                                                        "%nctaid.y", "%nctaid.z", "%laneid",  "%warpid"};

constexpr uint32_t kGap = 256; // between arrays: what reaches over the end of one is in none

uint32_t alignedUp(uint32_t at, uint32_t alignment) { return (at + alignment - 1) / alignment * alignment; }

} // namespace

KernelNames::KernelNames(const SyntaxModule &module, const SyntaxKernel &syntax, Kernel &kernel)
    : syntax(syntax), kernel(kernel) {
  newSlot(0); // the sink
  for (const SyntaxVariable &parameter : syntax.parameters) {
    uint32_t at = alignedUp(kernel.parameterBytes, parameter.alignment);
    kernel.parameters.push_back({parameter.name, at, parameter.bytes});
    kernel.parameterBytes = at + parameter.bytes;
  }
  std::vector<SyntaxVariable> sized = syntax.shared, unsizedOnes;
  for (const SyntaxVariable &variable : module.shared)
    (variable.bytes > 0 ? sized : unsizedOnes).push_back(variable);
  for (const SyntaxVariable &variable : sized) {
    place(kernel.shared, variable, kernel.sharedBytes);
    kernel.declaredSharedBytes = alignedUp(kernel.declaredSharedBytes, variable.alignment) + variable.bytes;
  }
  placeUnsized(unsizedOnes);
  for (const SyntaxVariable &variable : syntax.local)
    place(kernel.local, variable, kernel.localBytes);
}

void KernelNames::place(std::vector<Place> &into, const SyntaxVariable &variable, uint32_t &end) {
  uint32_t from = end ? end + kGap : 0, step = 2 * variable.alignment;
  uint32_t at = from / step * step + variable.alignment;
  if (at < from)
    at += step;
  into.push_back({variable.name, at, variable.bytes});
  end = at + variable.bytes;
}

/// All names of dynamic shared memory are names of the same bytes, aligned as the strictest of them asks.
void KernelNames::placeUnsized(const std::vector<SyntaxVariable> &variables) {
  if (variables.empty())
    return;
  kernel.dynamicShared = true;
  place(kernel.shared, *std::ranges::max_element(variables, {}, &SyntaxVariable::alignment), kernel.sharedBytes);
  Place place = kernel.shared.back();
  kernel.shared.pop_back();
  for (const SyntaxVariable &variable : variables) {
    place.name = variable.name;
    kernel.shared.push_back(place);
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

bool KernelNames::isPredicate(const std::string &name) const {
  auto found = syntax.registers.find(name);
  return found != syntax.registers.end() && found->second == Type::pred;
}

std::optional<uint32_t> KernelNames::label(const std::string &name) const {
  auto found = syntax.labels.find(name);
  return found == syntax.labels.end() ? std::nullopt : std::optional(found->second);
}

} // namespace quern::ptx
