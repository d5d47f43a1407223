#include "compose/reader.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::compose {

std::unexpected<Error> At::wrong(std::string_view why) const { return fail(Code::kInvalidArgument, cat(place, ": ", why)); }

Result<std::string> At::text() const {
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_null()) return "";
  if (value.is_object() || value.is_array()) return wrong("want a text");
  return json::format(value);
}

Result<bool> At::truth() const {
  TRY_ASSIGN(std::string t, text());
  t = to_lower(t);
  if (t == "true" || t == "yes" || t == "on" || t == "y") return true;
  if (t == "false" || t == "no" || t == "off" || t == "n") return false;
  return wrong("want true or false");
}

Result<std::int64_t> At::number() const {
  TRY_ASSIGN(std::string t, text());
  auto n = parse_int<std::int64_t>(t);
  if (!n) return wrong("want a number");
  return *n;
}

Result<std::vector<std::string>> At::texts() const {
  if (!value.is_array()) {
    TRY_ASSIGN(std::string one, text());
    return value.is_null() ? std::vector<std::string>() : std::vector<std::string>{std::move(one)};
  }
  std::vector<std::string> out;
  for (const json::Value& v : value.get_array()) {
    TRY_ASSIGN(std::string one, (At{v, place}.text()));
    out.push_back(std::move(one));
  }
  return out;
}

Result<std::vector<std::pair<std::string, std::optional<std::string>>>> At::pairs() const {
  std::vector<std::pair<std::string, std::optional<std::string>>> out;
  if (value.is_object()) {
    for (const auto& [key, v] : value.get_object()) {
      TRY_ASSIGN(std::string t, (At{v, cat(place, ".", std::string_view(key))}.text()));
      out.emplace_back(std::string(key), v.is_null() ? std::nullopt : std::optional(std::move(t)));
    }
    return out;
  }
  if (!value.is_array() && !value.is_null()) return wrong("want a map, or a list of NAME=value");
  TRY_ASSIGN(std::vector<std::string> lines, texts());
  for (const std::string& line : lines) {
    auto [key, v] = split_once(line, '=');
    out.emplace_back(std::string(key), v ? std::optional(std::string(*v)) : std::nullopt);
  }
  return out;
}

Result<std::vector<std::pair<std::string, At>>> At::members(std::initializer_list<std::string_view> known) const {
  std::vector<std::pair<std::string, At>> out;
  if (value.is_null()) return out;
  if (!value.is_object()) return wrong("want a map");
  for (const auto& [key, v] : value.get_object()) {
    std::string_view k = key;
    if (k.starts_with("x-")) continue;
    if (std::ranges::find(known, k) == known.end()) return not_supported(place, k);
    out.emplace_back(std::string(k), At{v, cat(place, place.empty() ? "" : ".", k)});
  }
  return out;
}

std::unexpected<Error> not_supported(const std::string& place, std::string_view key) {
  return fail(Code::kUnimplemented, cat(place.empty() ? "the compose file" : place, ": key \"", key, "\" is not supported"));
}

}  // namespace monopod::compose
