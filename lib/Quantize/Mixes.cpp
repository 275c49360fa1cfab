// The standard mixes as tables: a type for most matrices, and rules for those that matter more.
#include "quern/Quantize/Assignment.h"

#include "FileType.h"

#include <algorithm>
#include <charconv>
#include <map>

using namespace quern;
using namespace quern::quantize;

namespace {
struct Mix {
  std::string_view name, base;
  uint32_t fileType; ///< GGUF's number for it
};

/// When a rule holds, for layer i of n.
enum class When {
  Always,
  MoreBits,      ///< the first and the last eighth, and every third layer between
  First2,
  First4,
  FirstEighth,
  FirstSixteenth,
  SharedHeads,   ///< at least four query heads share one of keys and values
  EighthPlain,   ///< the first eighth, without importance
  EighthWeighted ///< the same, with importance
};

struct Rule {
  std::string_view mix, part; ///< `part` as in blk.N.PART.weight
  When when;
  std::string_view type;
};

struct Model {
  unsigned layers = 0;
  bool tied = true, sharedHeads = false, weighted = false;
};
} // namespace

static constexpr Mix kMixes[] = {
    {"F32", "F32", 0},      {"F16", "F16", 1},      {"BF16", "BF16", 32},   {"Q4_0", "Q4_0", 2},
    {"Q4_1", "Q4_1", 3},    {"Q5_0", "Q5_0", 8},    {"Q5_1", "Q5_1", 9},    {"Q8_0", "Q8_0", 7},
    {"Q2_K", "Q2_K", 10},   {"Q3_K_S", "Q3_K", 11}, {"Q3_K_M", "Q3_K", 12}, {"Q3_K_L", "Q3_K", 13},
    {"Q4_K_S", "Q4_K", 14}, {"Q4_K_M", "Q4_K", 15}, {"Q5_K_S", "Q5_K", 16}, {"Q5_K_M", "Q5_K", 17},
    {"Q6_K", "Q6_K", 18},   {"IQ4_NL", "IQ4_NL", 25}, {"IQ4_XS", "IQ4_XS", 30},
};

/// Of the rules for a mix and a part, the first that holds counts.
static constexpr Rule kRules[] = {
    {"Q4_K_M", "attn_v", When::MoreBits, "Q6_K"},        {"Q5_K_M", "attn_v", When::MoreBits, "Q6_K"},
    {"Q4_K_M", "ffn_down", When::MoreBits, "Q6_K"},      {"Q5_K_M", "ffn_down", When::MoreBits, "Q6_K"},
    {"Q4_K_S", "attn_v", When::First4, "Q5_K"},          {"Q4_K_S", "ffn_down", When::FirstEighth, "Q5_K"},
    {"Q3_K_M", "attn_v", When::First2, "Q5_K"},          {"Q3_K_M", "attn_v", When::Always, "Q4_K"},
    {"Q3_K_M", "ffn_down", When::FirstSixteenth, "Q5_K"}, {"Q3_K_M", "ffn_down", When::Always, "Q4_K"},
    {"Q3_K_M", "attn_output", When::Always, "Q4_K"},     {"Q3_K_L", "attn_v", When::Always, "Q5_K"},
    {"Q3_K_L", "ffn_down", When::Always, "Q5_K"},        {"Q3_K_L", "attn_output", When::Always, "Q5_K"},
    {"Q2_K", "attn_v", When::SharedHeads, "Q4_K"},       {"Q2_K", "attn_v", When::Always, "Q3_K"},
    {"Q2_K", "ffn_down", When::Always, "Q3_K"},          {"Q2_K", "attn_output", When::Always, "Q3_K"},
    {"IQ4_NL", "attn_v", When::SharedHeads, "Q5_K"},     {"IQ4_XS", "attn_v", When::SharedHeads, "Q5_K"},
    {"IQ4_NL", "ffn_down", When::EighthPlain, "Q5_K"},   {"IQ4_XS", "ffn_down", When::EighthPlain, "Q5_K"},
    {"Q4_0", "ffn_down", When::EighthWeighted, "Q4_1"},  {"Q5_0", "ffn_down", When::EighthWeighted, "Q5_1"},
};

/// What stands in for a type whose blocks do not divide a row.
static constexpr std::pair<std::string_view, std::string_view> kSmallerBlock[] = {
    {"Q4_K", "Q5_0"}, {"Q5_K", "Q5_1"}, {"Q6_K", "Q8_0"}, {"Q2_K", "Q4_0"}, {"Q3_K", "Q4_0"}, {"IQ4_XS", "IQ4_NL"}};

static bool holds(When when, unsigned i, const Model &model) {
  unsigned n = model.layers;
  switch (when) {
  case When::Always:
    return true;
  case When::MoreBits:
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
  case When::First2:
    return i < 2;
  case When::First4:
    return i < 4;
  case When::FirstEighth:
    return i < n / 8;
  case When::FirstSixteenth:
    return i < n / 16;
  case When::SharedHeads:
    return model.sharedHeads;
  case When::EighthPlain:
    return !model.weighted && i < n / 8;
  case When::EighthWeighted:
    return model.weighted && i < n / 8;
  }
  return false;
}

/// "blk.7.attn_v.weight" as layer 7 and "attn_v"; no part for other names.
static std::pair<unsigned, std::string_view> layerPart(std::string_view name) {
  constexpr std::string_view prefix = "blk.", suffix = ".weight";
  if (!name.starts_with(prefix) || !name.ends_with(suffix))
    return {};
  name.remove_prefix(prefix.size());
  name.remove_suffix(suffix.size());
  unsigned layer = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  if (error != std::errc() || end == name.data() + name.size() || *end != '.')
    return {};
  return {layer, name.substr(size_t(end - name.data()) + 1)};
}

static Model describe(std::span<const TensorShape> tensors, bool weighted) {
  Model model;
  model.weighted = weighted;
  std::map<std::string_view, uint64_t> rows;
  for (const TensorShape &tensor : tensors) {
    auto [layer, part] = layerPart(tensor.name);
    if (!part.empty())
      model.layers = std::max(model.layers, layer + 1);
    if (tensor.name == "output.weight")
      model.tied = false;
    if (tensor.dims.size() > 1)
      rows[part] = tensor.dims[1];
  }
  model.sharedHeads = rows["attn_v"] > 0 && rows["attn_q"] / rows["attn_v"] >= 4;
  return model;
}

static bool isFloat(std::string_view type) { return type == "F32" || type == "F16" || type == "BF16"; }

namespace {
class MixAssignment : public Assignment {
public:
  explicit MixAssignment(const Mix &mix) : mix(mix) {}
  std::optional<uint32_t> fileType() const override { return mix.fileType; }

  Result<std::vector<const ElementType *>> assign(std::span<const TensorShape> tensors, const ElementTypes &types,
                                                  bool weighted) const override {
    Model model = describe(tensors, weighted);
    std::vector<const ElementType *> chosen;
    for (const TensorShape &tensor : tensors)
      chosen.push_back(isQuantizable(tensor) ? fitted(wanted(tensor, types, model), tensor.dims[0], types) : nullptr);
    return chosen;
  }

private:
  std::string_view wanted(const TensorShape &tensor, const ElementTypes &types, const Model &model) const {
    if (tensor.name == (model.tied ? "token_embd.weight" : "output.weight")) {
      if (isFloat(mix.base) || mix.base == "Q8_0")
        return mix.base;
      return types.find(mix.base)->divides(tensor.dims[0]) ? "Q6_K" : "Q8_0";
    }
    auto [layer, part] = layerPart(tensor.name);
    auto rule = std::ranges::find_if(kRules, [&, layer = layer, part = part](const Rule &rule) {
      return rule.mix == mix.name && rule.part == part && holds(rule.when, layer, model);
    });
    std::string_view type = rule == std::end(kRules) ? mix.base : rule->type;
    if (model.layers == 80 && part == "attn_v" && (type == "Q3_K" || type == "Q4_K"))
      return "Q5_K"; // many heads share these in models of 70 billion weights: small, and worth more bits
    return type;
  }

  static const ElementType *fitted(std::string_view name, uint64_t columns, const ElementTypes &types) {
    if (types.find(name)->divides(columns))
      return types.find(name);
    for (auto [large, smaller] : kSmallerBlock)
      if (name == large && types.find(smaller)->divides(columns))
        return types.find(smaller);
    return types.find("F16");
  }

  const Mix &mix;
};
} // namespace

bool quantize::isQuantizable(const TensorShape &tensor) {
  std::string_view name = tensor.name;
  return tensor.dims.size() >= 2 && name.ends_with("weight") && !name.ends_with("_norm.weight");
}

std::optional<uint32_t> quantize::fileTypeOf(std::string_view type) {
  auto found = std::ranges::find(kMixes, type, &Mix::base);
  return found == std::end(kMixes) ? std::nullopt : std::optional(found->fileType);
}

std::string quantize::standardMixNames() {
  std::string list;
  for (const Mix &mix : kMixes)
    list += (list.empty() ? "" : ", ") + std::string(mix.name);
  return list;
}

Result<std::unique_ptr<Assignment>> quantize::makeAssignment(const AssignmentChoice &choice) {
  if (choice.mix.empty() == choice.recipe.empty())
    return fail("say what the tensors become: either --quant MIX or --recipe FILE");
  return choice.mix.empty() ? readRecipe(choice.recipe) : standardMix(choice.mix);
}

Status quantize::checkChange(std::string_view tensor, const ElementType *from, const ElementType &to,
                             bool allowRequantize) {
  std::string start = "tensor " + std::string(tensor) + " ";
  if (!from)
    return fail(start + "holds no numbers that could become " + to.name);
  if (from->spec && !allowRequantize)
    return fail(start + "is quantized already, as " + from->name + ", and would lose more as " + to.name +
                "; start from a float model, or pass --allow-requantize");
  return {};
}

Result<std::unique_ptr<Assignment>> quantize::standardMix(std::string_view name) {
  for (const Mix &mix : kMixes)
    if (mix.name == name)
      return std::make_unique<MixAssignment>(mix);
  return fail("there is no mix '" + std::string(name) + "'; choose one of " + standardMixNames());
}
