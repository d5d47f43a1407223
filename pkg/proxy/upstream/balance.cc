// Which endpoint takes a request: a priority's level first, then the balancer among its endpoints.
#include <algorithm>

#include "base/strings.h"
#include "proxy/listener/worker.h"
#include "proxy/upstream/cluster.h"

namespace monopod::proxy {
namespace {

constexpr std::uint64_t kAssessMs = 100;        // how old the view of who is available may be, where several levels or a threshold ask
constexpr std::uint32_t kOverprovisioning = 140;  // a level of which 72 % are available still takes all
constexpr double kLatencyDecayMs = 10'000;      // after so long without an answer, two thirds of a latency are forgotten
constexpr std::uint32_t kSlowStartMinPercent = 10;

std::string_view balancer_name(ClusterSpec::Balancer balancer) {
  static constexpr std::string_view kNames[] = {"round_robin", "least_request", "ewma", "random", "ring_hash", "maglev"};
  return kNames[static_cast<std::size_t>(balancer)];
}

}  // namespace

void Cluster::arrange() {
  levels_.clear();
  std::vector<std::uint32_t> numbers;
  for (const auto& e : endpoints_) numbers.push_back(e->level);
  std::ranges::sort(numbers);
  numbers.erase(std::ranges::unique(numbers).begin(), numbers.end());
  for (std::uint32_t number : numbers) {
    Level& level = levels_.emplace_back();
    level.number = number;
    for (const auto& e : endpoints_)
      if (e->level == number) level.members.push_back(e.get());
    level.uniform = std::ranges::all_of(level.members, [&](const Endpoint* e) { return e->weight == level.members.front()->weight; });
  }
  assessed_ms_ = 0;
}

// Each level takes what its health allows, 1.4 times over, of what is left (as Envoy spreads load over priorities).
void Cluster::assess() {
  std::uint64_t now = worker_.now_ms();
  if (assessed_ms_ != 0 && now < assessed_ms_ + kAssessMs) return;
  assessed_ms_ = now;
  std::uint32_t left = 100;
  for (Level& level : levels_) {
    auto good = static_cast<std::uint32_t>(std::ranges::count_if(level.members, [now](const Endpoint* e) { return e->available(now); }));
    auto all = static_cast<std::uint32_t>(level.members.size());
    level.panic = good * 100 < all * config_->spec.panic_percent;
    level.percent = std::min(left, good * kOverprovisioning / all);
    left -= level.percent;
  }
  // What nobody is well enough for goes to the first that has anybody.
  auto first = std::ranges::find_if(levels_, [](const Level& level) { return level.percent > 0; });
  (first == levels_.end() ? levels_.front() : *first).percent += left;
}

std::size_t Cluster::choose_level() {
  if (levels_.size() == 1) return 0;
  std::uint32_t draw = static_cast<std::uint32_t>(worker_.rng().below(100));
  for (std::size_t i = 0; i < levels_.size(); ++i) {
    if (draw < levels_[i].percent) return i;
    draw -= levels_[i].percent;
  }
  return 0;
}

bool Cluster::usable(const Endpoint& endpoint, const Endpoint* not_this, bool any) const {
  return &endpoint != not_this && (any || endpoint.available(worker_.now_ms()));
}

// Weights that differ: every endpoint gains its weight, the richest is taken and pays the sum (smooth weighted round robin).
Endpoint* Cluster::pick_round_robin(Level& level, const Endpoint* not_this, bool any) {
  if (level.uniform) {
    for (std::size_t i = 0; i < level.members.size(); ++i) {
      Endpoint& e = *level.members[level.next++ % level.members.size()];
      if (usable(e, not_this, any)) return &e;
    }
    return nullptr;
  }
  Endpoint* best = nullptr;
  std::int64_t sum = 0;
  for (Endpoint* e : level.members) {
    if (!usable(*e, not_this, any)) continue;
    e->current_weight += e->weight;
    sum += e->weight;
    if (best == nullptr || e->current_weight > best->current_weight) best = e;
  }
  if (best != nullptr) best->current_weight -= sum;
  return best;
}

Endpoint* Cluster::draw(const Level& level, const Endpoint* not_this, bool any) {
  std::size_t begin = worker_.rng().below(level.members.size());
  for (std::size_t i = 0; i < level.members.size(); ++i)
    if (Endpoint& e = *level.members[(begin + i) % level.members.size()]; usable(e, not_this, any)) return &e;
  return nullptr;
}

// Two at random, the cheaper one (Mitzenmacher, 2001): fewer requests per weight, or, with latency, the shorter wait to be expected.
Endpoint* Cluster::pick_of_two(const Level& level, const Endpoint* not_this, bool any) {
  Endpoint* a = draw(level, not_this, any);
  Endpoint* b = draw(level, not_this, any);
  if (a == nullptr || a == b) return a;
  if (config_->spec.balancer != ClusterSpec::Balancer::kEwma) return std::uint64_t{a->active} * b->weight <= std::uint64_t{b->active} * a->weight ? a : b;
  auto cost = [](const Endpoint& e) { return (e.latency_ms + 0.5) * (e.active + 1) / e.weight; };
  return cost(*a) <= cost(*b) ? a : b;
}

Endpoint* Cluster::pick_by_hash(const Level& level, std::uint64_t hash, const Endpoint* not_this, bool any) {
  const std::vector<std::uint16_t>& table = config_->names.empty() ? config_->hash_table : hash_table_;
  for (std::size_t i = 0; i < table.size(); ++i)
    if (Endpoint& e = *endpoints_[table[(hash + i) % table.size()]]; e.level == level.number && usable(e, not_this, any)) return &e;
  return nullptr;
}

Endpoint* Cluster::pick_in(Level& level, std::uint64_t hash, const Endpoint* not_this, bool any) {
  switch (config_->spec.balancer) {
    case ClusterSpec::Balancer::kRoundRobin: return pick_round_robin(level, not_this, any);
    case ClusterSpec::Balancer::kLeastRequest:
    case ClusterSpec::Balancer::kEwma: return pick_of_two(level, not_this, any);
    case ClusterSpec::Balancer::kRandom: return draw(level, not_this, any);
    case ClusterSpec::Balancer::kRingHash:
    case ClusterSpec::Balancer::kMaglev: return pick_by_hash(level, hash, not_this, any);
  }
  return nullptr;
}

bool Cluster::declines(const Endpoint& endpoint) {
  std::uint64_t window = static_cast<std::uint64_t>(config_->spec.slow_start.count());
  std::uint64_t since = std::max(endpoint.since_ms, endpoint.ejected_until_ms), now = worker_.now_ms();
  if (since == 0 || now >= since + window || now < since) return false;
  return worker_.rng().below(100) >= std::max<std::uint64_t>(kSlowStartMinPercent, (now - since) * 100 / window);
}

Endpoint* Cluster::pick(std::uint64_t hash, const Endpoint* not_this) {
  if (endpoints_.size() <= 1) return endpoints_.empty() ? nullptr : endpoints_.front().get();
  if (levels_.size() > 1 || config_->spec.panic_percent > 0) assess();
  std::size_t chosen = choose_level();
  for (std::size_t i = chosen; i < levels_.size(); ++i) {
    Endpoint* found = pick_in(levels_[i], hash, not_this, levels_[i].panic);
    // Who has just come is passed over now and then; a key stays where it belongs.
    if (config_->spec.slow_start.count() > 0 && !hashes())
      for (int turn = 0; turn < 3 && found != nullptr && declines(*found); ++turn) found = pick_in(levels_[i], hash, not_this, levels_[i].panic);
    if (found != nullptr) return found;
  }
  if (Endpoint* found = pick_in(levels_[chosen], hash, not_this, true)) return found;
  return pick_in(levels_[chosen], hash, nullptr, true);
}

// A peak counts at once, better times show slowly.
void Cluster::note_latency(Endpoint& endpoint, std::uint64_t latency_ms) {
  std::uint64_t now = worker_.now_ms();
  auto latency = static_cast<double>(latency_ms);
  double age = static_cast<double>(now - endpoint.latency_at_ms);
  endpoint.latency_at_ms = now;
  double keep = kLatencyDecayMs / (kLatencyDecayMs + age * 10);
  endpoint.latency_ms = latency > endpoint.latency_ms ? latency : endpoint.latency_ms * keep + latency * (1 - keep);
}

std::string Cluster::describe_choice(const Endpoint& endpoint) const {
  std::uint64_t now = worker_.now_ms();
  auto good = std::ranges::count_if(endpoints_, [now](const auto& e) { return e->available(now); });
  std::string out = cat(balancer_name(config_->spec.balancer), " among ", good, " available of ", endpoints_.size());
  if (levels_.size() > 1) out += cat(", level ", endpoint.level);
  if (!endpoint.available(now)) out += endpoint.healthy ? ", though ejected" : ", though unhealthy";
  return out;
}

}  // namespace monopod::proxy
