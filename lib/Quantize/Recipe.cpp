// Recipes: JSON objects from tensor names, or patterns of them, to types.
#include "quern/Quantize/Assignment.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <regex>

using namespace quern;
using namespace quern::quantize;
using nlohmann::ordered_json;

namespace {
struct Rule {
  std::string key, type;
  std::regex pattern;
};

class Recipe : public Assignment {
public:
  Recipe(std::string path, std::vector<Rule> rules) : path(std::move(path)), rules(std::move(rules)) {}
  Result<std::vector<const ElementType *>> assign(std::span<const TensorShape> tensors, const ElementTypes &types,
                                                  bool weighted) const override;

private:
  Status checkUse(std::span<const TensorShape> tensors, const ElementTypes &types) const;
  const Rule *ruleFor(const TensorShape &tensor) const;
  tl::unexpected<Error> wrong(const std::string &key, const std::string &what) const {
    return fail(path + ": '" + key + "' " + what);
  }

  std::string path;
  std::vector<Rule> rules;
};
} // namespace

static bool matches(const Rule &rule, const TensorShape &tensor) {
  return rule.key == tensor.name || (isQuantizable(tensor) && std::regex_match(tensor.name, rule.pattern));
}

const Rule *Recipe::ruleFor(const TensorShape &tensor) const {
  auto found = std::ranges::find(rules, tensor.name, &Rule::key);
  if (found == rules.end())
    found = std::ranges::find_if(rules, [&](const Rule &rule) { return matches(rule, tensor); });
  return found == rules.end() ? nullptr : &*found;
}

/// Every type is known, and every key names a tensor: a recipe for another model must not pass in silence.
Status Recipe::checkUse(std::span<const TensorShape> tensors, const ElementTypes &types) const {
  for (const Rule &rule : rules) {
    if (!types.find(rule.type))
      return wrong(rule.key, "asks for the unknown type '" + rule.type + "'; known are " + types.names());
    if (std::ranges::none_of(tensors, [&](const TensorShape &tensor) { return matches(rule, tensor); }))
      return wrong(rule.key, "names no tensor of the model (patterns must match whole names of matrices)");
  }
  return {};
}

Result<std::vector<const ElementType *>> Recipe::assign(std::span<const TensorShape> tensors, const ElementTypes &types,
                                                        bool) const {
  QUERN_TRY(checkUse(tensors, types));
  std::vector<const ElementType *> chosen;
  for (const TensorShape &tensor : tensors) {
    const Rule *rule = ruleFor(tensor);
    const ElementType *type = rule ? types.find(rule->type) : nullptr;
    if (type && !isQuantizable(tensor) && type->name != "F32")
      return wrong(tensor.name, "is a vector or a norm, which only F32 can hold, not " + type->name);
    if (type && !type->divides(tensor.dims[0]))
      return wrong(rule->key, "asks for " + type->name + ", whose blocks of " + std::to_string(type->block) +
                                  " do not divide the rows of " + std::to_string(tensor.dims[0]) + " weights of '" +
                                  tensor.name + "'");
    chosen.push_back(type);
  }
  return chosen;
}

Result<std::unique_ptr<Assignment>> quantize::readRecipe(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return fail(path + ": cannot open the recipe: " + std::strerror(errno));
  ordered_json all = ordered_json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!all.is_object() || all.empty())
    return fail(path + ": a recipe is a JSON object from tensor names to types, such as {\"output.weight\": \"Q6_K\"}");
  std::vector<Rule> rules;
  for (auto &[key, value] : all.items()) {
    if (!value.is_string())
      return fail(path + ": '" + key + "' must have the name of a type, in quotes");
    try {
      rules.push_back({key, value.get<std::string>(), std::regex(key)});
    } catch (const std::regex_error &) { // the only way in which the library tells
      return fail(path + ": '" + key + "' is no valid regular expression");
    }
  }
  return std::make_unique<Recipe>(path, std::move(rules));
}
