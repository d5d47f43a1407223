#include "proxy/observe/merge.h"

#include <cstdint>
#include <map>
#include <vector>

#include "base/strings.h"

namespace monopod::proxy {

std::string merge_metrics(std::string_view text) {
  struct Family {
    std::string_view help, type;
    std::vector<std::string_view> series;  // in their order
    std::map<std::string_view, std::int64_t> values;
  };
  std::vector<Family> families;
  std::map<std::string_view, std::size_t> by_name;
  std::size_t current = 0;
  for (std::string_view line : split(text, '\n')) {
    if (line.starts_with("# HELP ") || line.starts_with("# TYPE ")) {
      std::string_view name = split_once(line.substr(7), ' ').first;  // behind "# HELP " or "# TYPE "
      auto [at, fresh] = by_name.emplace(name, families.size());
      if (fresh) families.emplace_back();
      current = at->second;
      (line.starts_with("# HELP") ? families[current].help : families[current].type) = line;
      continue;
    }
    std::size_t blank = line.rfind(' ');
    if (blank == std::string_view::npos || families.empty()) continue;
    Family& family = families[current];
    auto [at, fresh] = family.values.emplace(line.substr(0, blank), 0);
    if (fresh) family.series.push_back(at->first);
    at->second += parse_int<std::int64_t>(line.substr(blank + 1)).value_or(0);
  }
  std::string out;
  for (const Family& family : families) {
    out += cat(family.help, "\n", family.type, "\n");
    for (std::string_view series : family.series) out += cat(series, " ", family.values.at(series), "\n");
  }
  return out;
}

}  // namespace monopod::proxy
