// For tests: the bytes of a TZif file of version 2.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace monopod::controllers {

// transitions: when, the offset from then on. Before the first it is UTC.
inline std::string make_tzif(const std::vector<std::pair<std::int64_t, std::int64_t>>& transitions, std::string_view footer) {
  auto number = [](std::int64_t n, int bytes) {
    std::string out;
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out += static_cast<char>(static_cast<std::uint64_t>(n) >> shift & 0xff);
    return out;
  };
  auto header = [&](std::int64_t times, std::int64_t types) { return "TZif2" + std::string(15, '\0') + number(0, 4) + number(0, 4) + number(0, 4) + number(times, 4) + number(types, 4) + number(types > 0 ? 4 : 0, 4); };
  std::int64_t count = static_cast<std::int64_t>(transitions.size());
  std::string out = header(0, 0) + header(count, count + 1), indexes, types = number(0, 4) + std::string(2, '\0');
  for (const auto& [when, offset] : transitions) {
    out += number(when, 8);
    indexes += static_cast<char>(indexes.size() + 1);
    types += number(offset, 4) + std::string(2, '\0');
  }
  return out + indexes + types + std::string("LMT\0", 4) + "\n" + std::string(footer) + "\n";
}

}  // namespace monopod::controllers
