// JSON from files that may be damaged or hostile.
#ifndef QUERN_SUPPORT_JSON_H
#define QUERN_SUPPORT_JSON_H

#include <nlohmann/json.hpp>

#include <string_view>

namespace quern {

/// Lists and objects inside one another. No file that we read needs more than a few; copying and writing a value
/// recurse once for each, so without a bound a file of brackets would use up the stack.
inline constexpr int kMaxJsonDepth = 64;

/// A discarded value if the text is no JSON, or nests more than kMaxJsonDepth deep.
template <typename Json = nlohmann::json> Json parseJson(std::string_view text) {
  bool isDeep = false;
  auto keep = [&](int depth, typename Json::parse_event_t event, Json &) {
    bool opens = event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    isDeep |= opens && depth >= kMaxJsonDepth;
    return !isDeep;
  };
  Json value = Json::parse(text, keep, /*allow_exceptions=*/false);
  return isDeep ? Json(Json::value_t::discarded) : value;
}

} // namespace quern

#endif // QUERN_SUPPORT_JSON_H
