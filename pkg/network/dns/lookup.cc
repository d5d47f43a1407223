#include "network/dns/lookup.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::network::dns {
namespace {

constexpr int kAliasesMax = 16;

}  // namespace

std::vector<IpAddress> find_in_hosts(std::string_view hosts, std::string_view name) {
  std::vector<IpAddress> out;
  for (std::string_view line : split(hosts, '\n')) {
    line = line.substr(0, line.find('#'));
    std::string text(line);
    std::ranges::replace(text, '\t', ' ');
    std::vector<std::string_view> words = split(text, ' ');
    std::erase(words, std::string_view());
    if (words.size() < 2 || std::none_of(words.begin() + 1, words.end(), [&](std::string_view w) { return iequals(trim(w), name); })) continue;
    if (Result<IpAddress> ip = parse_ip(words[0])) out.push_back(*ip);
  }
  return out;
}

std::vector<IpAddress> addresses_of(const Response& response, std::string name) {
  std::vector<IpAddress> out;
  for (int step = 0; step < kAliasesMax; ++step) {
    const Record* alias = nullptr;
    for (const Record& record : response.answers) {
      if (record.name != name) continue;
      auto bytes = reinterpret_cast<const std::uint8_t*>(record.data.data());
      if (record.type == kA && record.data.size() == 4) out.push_back(IpAddress::v4(std::span<const std::uint8_t, 4>(bytes, 4)));
      if (record.type == kAaaa && record.data.size() == 16) out.push_back(IpAddress::v6(std::span<const std::uint8_t, 16>(bytes, 16)));
      if (record.type == kCname) alias = &record;
    }
    if (!out.empty() || alias == nullptr) break;
    name = alias->data;
  }
  return out;
}

std::vector<std::string> names_to_try(const std::string& name, const std::vector<std::string>& search, int ndots) {
  std::vector<std::string> names;
  if (!name.ends_with('.'))
    for (const std::string& suffix : search) names.push_back(cat(name, ".", suffix));
  names.insert(std::ranges::count(name, '.') < ndots ? names.end() : names.begin(), name);
  return names;
}

}  // namespace monopod::network::dns
