#include "compose/reader.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::compose {

std::string At::place() const {
  std::string above = parent == nullptr ? "" : parent->place();
  return above.empty() ? std::string(key) : cat(above, ".", key);
}

void At::wrong(std::string_view why) const {
  if (!note.first) note.first = Error(Code::kInvalidArgument, cat(place(), place().empty() ? "" : ": ", why));
}

void At::not_supported(std::string_view what) const {
  std::string where = place();
  if (!note.first) note.first = Error(Code::kUnimplemented, cat(where.empty() ? "the compose file" : where, ": ", what));
}

std::string At::text() const {
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_null()) return "";
  if (!value.is_object() && !value.is_array()) return json::format(value);
  wrong("want a text");
  return "";
}

bool At::truth() const {
  std::string t = to_lower(text());
  if (t == "true" || t == "yes" || t == "on" || t == "y") return true;
  if (t != "false" && t != "no" && t != "off" && t != "n") wrong("want true or false");
  return false;
}

std::int64_t At::number() const {
  auto n = parse_int<std::int64_t>(text());
  if (!n) wrong("want a number");
  return n.value_or(0);
}

std::vector<std::string> At::texts() const {
  std::vector<std::string> out;
  if (value.is_array())
    for (const json::Value& v : value.get_array()) out.push_back(item(v).text());
  else if (!value.is_null()) out.push_back(text());
  return out;
}

At::Pairs At::pairs() const {
  Pairs out;
  if (value.is_object()) {
    for (const auto& [name, at] : members()) out.emplace_back(std::string(name), at.value.is_null() ? std::nullopt : std::optional(at.text()));
    return out;
  }
  if (!value.is_array() && !value.is_null()) wrong("want a map, or a list of NAME=value");
  for (const std::string& line : texts()) {
    auto [name, v] = split_once(line, '=');
    out.emplace_back(std::string(name), v ? std::optional(std::string(*v)) : std::nullopt);
  }
  return out;
}

const json::Array& At::list() const {
  static const json::Array kNone;
  if (value.is_array()) return value.get_array();
  wrong("want a list");
  return kNone;
}

At::Members At::members(std::initializer_list<std::string_view> known) const& {
  Members out;
  if (value.is_null()) return out;
  if (!value.is_object()) {
    wrong("want a map");
    return out;
  }
  for (const auto& [name, v] : value.get_object()) {
    std::string_view k = name;
    bool is_known = known.size() == 0 || std::ranges::find(known, k) != known.end();
    if (is_known) out.emplace_back(k, At{v, note, this, k});
    else if (!k.starts_with("x-")) not_supported(cat("key \"", k, "\" is not supported"));
  }
  return out;
}

}  // namespace monopod::compose
