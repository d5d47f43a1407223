#include "proxy/config/read_match.h"

#include "base/strings.h"

namespace monopod::proxy {

StringMatch read_match(MapReader& map) {
  StringMatch out;
  int kinds = 0;
  using Kind = StringMatch::Kind;
  for (auto [key, kind] : {std::pair("exact", Kind::kExact), {"prefix", Kind::kPrefix}, {"suffix", Kind::kSuffix}, {"contains", Kind::kContains}, {"regex", Kind::kRegex}}) {
    if (!map.has(key)) continue;
    out.kind = kind;
    out.text = map.text(key);
    ++kinds;
  }
  if (map.boolean("present", false)) {
    out.kind = Kind::kPresent;
    ++kinds;
  }
  if (kinds != 1) map.fail_at("", "want one of exact, prefix, suffix, contains, regex, present");
  out.invert = map.boolean("invert", false);
  return out;
}

std::vector<NamedMatch> read_named(MapReader& map, std::string_view key, bool lowercase) {
  std::vector<NamedMatch> out;
  map.list(key, [&](MapReader& item) {
    std::string name = item.required_text("name");
    out.push_back({.name = lowercase ? to_lower(name) : name, .match = read_match(item)});
  });
  return out;
}

std::vector<StringMatch> read_matches(MapReader& map, std::string_view key) {
  std::vector<StringMatch> out;
  map.list(key, [&](MapReader& item) { out.push_back(read_match(item)); });
  return out;
}

std::vector<HeaderValue> read_header_values(MapReader& map, std::string_view key) {
  std::vector<HeaderValue> out;
  for (auto& [name, value] : map.pairs(key)) out.push_back({to_lower(name), std::move(value)});
  return out;
}

void read_header_operations(MapReader& map, std::string_view key, HeaderOperations& out) {
  map.map(key, [&](MapReader& item) {
    for (std::string& name : item.texts("remove")) out.remove.push_back(to_lower(name));
    out.set = read_header_values(item, "set");
    out.add = read_header_values(item, "add");
  });
}

}  // namespace monopod::proxy
