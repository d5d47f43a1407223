#include "proxy/upstream/hash_table.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::proxy {
namespace {

constexpr std::size_t kMaglevSlots = 16381;  // a prime, some hundred times the endpoints of a usual cluster; 32 KB
constexpr std::size_t kRingSlots = 16384;
constexpr std::uint32_t kPointsPerWeight = 100;
constexpr std::uint16_t kFree = 0xffff;

}  // namespace

std::uint64_t stable_hash(std::string_view bytes, std::uint64_t seed) {
  std::uint64_t h = 14695981039346656037ULL ^ seed;
  for (char c : bytes) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
  return h ^ (h >> 31);
}

std::vector<std::uint16_t> make_maglev(const std::vector<EndpointSpec>& endpoints) {
  if (endpoints.empty()) return {};
  struct Turn {
    std::uint64_t at, skip;
  };
  std::vector<Turn> turns;
  for (const EndpointSpec& e : endpoints) turns.push_back({stable_hash(e.address, 1) % kMaglevSlots, stable_hash(e.address, 2) % (kMaglevSlots - 1) + 1});
  std::vector<std::uint16_t> table(kMaglevSlots, kFree);
  for (std::size_t filled = 0;;) {
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      for (std::uint32_t w = 0; w < endpoints[i].weight; ++w) {
        while (table[turns[i].at] != kFree) turns[i].at = (turns[i].at + turns[i].skip) % kMaglevSlots;
        table[turns[i].at] = static_cast<std::uint16_t>(i);
        if (++filled == kMaglevSlots) return table;
      }
    }
  }
}

std::vector<std::uint16_t> make_ring(const std::vector<EndpointSpec>& endpoints) {
  if (endpoints.empty()) return {};
  std::vector<std::pair<std::uint64_t, std::uint16_t>> points;
  for (std::size_t i = 0; i < endpoints.size(); ++i)
    for (std::uint32_t p = 0; p < endpoints[i].weight * kPointsPerWeight && points.size() < 1'000'000; ++p)
      points.emplace_back(stable_hash(endpoints[i].address, p + 1), static_cast<std::uint16_t>(i));
  std::ranges::sort(points);
  std::vector<std::uint16_t> table(kRingSlots);
  for (std::size_t slot = 0; slot < kRingSlots; ++slot) {
    auto next = std::ranges::lower_bound(points, std::pair<std::uint64_t, std::uint16_t>((~std::uint64_t{0} / kRingSlots) * slot, 0));
    table[slot] = next == points.end() ? points.front().second : next->second;
  }
  return table;
}

std::vector<std::uint16_t> make_hash_table(ClusterSpec::Balancer balancer, const std::vector<EndpointSpec>& endpoints) {
  if (balancer == ClusterSpec::Balancer::kRingHash) return make_ring(endpoints);
  if (balancer == ClusterSpec::Balancer::kMaglev) return make_maglev(endpoints);
  return {};
}

}  // namespace monopod::proxy
