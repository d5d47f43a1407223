#include "controllers/deployment_math.h"

#include <algorithm>

namespace monopod::controllers {

std::int64_t new_set_size(const RolloutLimits& limits, std::int64_t total_wanted, std::int64_t new_wanted) {
  if (new_wanted > limits.replicas) return limits.replicas;
  std::int64_t room = limits.replicas + limits.surge - total_wanted;
  if (room <= 0) return new_wanted;
  return new_wanted + std::min(room, limits.replicas - new_wanted);
}

std::vector<std::int64_t> old_set_sizes(const RolloutLimits& limits, const SetSize& new_set, const std::vector<SetSize>& old_sets) {
  std::vector<std::int64_t> sizes;
  std::int64_t total = new_set.want;
  std::int64_t available = new_set.available;
  for (const SetSize& set : old_sets) {
    sizes.push_back(set.want);
    total += set.want;
    available += set.available;
  }
  std::int64_t min_available = limits.replicas - limits.unavailable;
  std::int64_t removable = total - min_available - (new_set.want - new_set.available);
  for (std::size_t i = 0; i < sizes.size() && removable > 0; ++i) {  // what is not available anyway
    std::int64_t cut = std::min(removable, std::max<std::int64_t>(0, old_sets[i].want - old_sets[i].available));
    sizes[i] -= cut;
    removable -= cut;
  }
  std::int64_t spare = available - min_available;
  for (std::size_t i = 0; i < sizes.size() && spare > 0; ++i) {
    std::int64_t cut = std::min(spare, std::min(sizes[i], old_sets[i].available));
    sizes[i] -= cut;
    spare -= cut;
  }
  return sizes;
}

std::vector<std::int64_t> proportional_sizes(const std::vector<std::int64_t>& sets, std::int64_t limit, std::int64_t annotated_max) {
  std::vector<std::int64_t> out = sets;
  std::int64_t total = 0;
  for (std::int64_t n : sets) total += n;
  std::int64_t to_add = limit - total;
  if (to_add == 0 || sets.empty()) return out;
  std::vector<std::size_t> order(sets.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  // Larger sets first; of equal ones the newest when growing, the oldest when shrinking.
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (sets[a] != sets[b]) return sets[a] > sets[b];
    return to_add > 0 ? a < b : a > b;
  });
  std::int64_t base = annotated_max > 0 ? annotated_max : std::max<std::int64_t>(total, 1);
  std::int64_t left = to_add;
  for (std::size_t i : order) {
    std::int64_t numerator = sets[i] * limit;
    std::int64_t rounded = (2 * numerator + base) / (2 * base);
    std::int64_t share = rounded - sets[i];
    share = to_add > 0 ? std::clamp<std::int64_t>(share, 0, left) : std::clamp<std::int64_t>(share, left, 0);
    out[i] += share;
    left -= share;
  }
  out[order[0]] = std::max<std::int64_t>(0, out[order[0]] + left);
  return out;
}

std::string template_hash(std::string_view canonical_template, std::int64_t collisions) {
  std::uint32_t hash = 2166136261U;  // FNV-1a
  auto mix = [&hash](char c) { hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U; };
  for (char c : canonical_template) mix(c);
  if (collisions > 0)
    for (char c : std::to_string(collisions)) mix(c);
  static constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string out = std::to_string(hash);
  for (char& c : out) c = kAlphabet[static_cast<unsigned char>(c) % kAlphabet.size()];
  return out;
}

}  // namespace monopod::controllers
