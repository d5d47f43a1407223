// Outlier ejection (passive checks): what came of requests says which endpoints are to be left alone for a while. Each worker judges by what it saw.
//
//   observe() ─► in a row: 5xx, gateway errors, local errors ─────────────► eject(), for base_ejection times how often in a row
//           └──► once an interval: success rate far below the others', or too many failures ─► eject()
#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "proxy/listener/worker.h"
#include "proxy/upstream/cluster.h"

namespace monopod::proxy {
namespace {

double success_rate(const Endpoint& e) { return 1.0 - static_cast<double>(e.failures) / e.requests; }

// Those with enough requests, where they are enough.
std::vector<Endpoint*> comparable(const std::vector<std::unique_ptr<Endpoint>>& all, const OutlierRateSpec& spec) {
  std::vector<Endpoint*> out;
  for (const auto& e : all)
    if (e->requests >= spec.requests_min) out.push_back(e.get());
  if (out.size() < spec.endpoints_min) out.clear();
  return out;
}

}  // namespace

void Cluster::observe(Endpoint& endpoint, int status, std::uint64_t latency_ms) {
  if (latency_ms != kNever && config_->spec.balancer == ClusterSpec::Balancer::kEwma) note_latency(endpoint, latency_ms);
  if (!config_->spec.outlier) return;
  const OutlierSpec& spec = *config_->spec.outlier;
  bool failed = status == 0 || status >= 500;
  if (spec.success_rate || spec.failure_rate) {
    if (worker_.now_ms() >= judged_ms_ + static_cast<std::uint64_t>(spec.interval.count())) judge_rates();
    ++endpoint.requests;
    if (failed) ++endpoint.failures;
  }
  if (failed) return count_failure(endpoint, status);
  endpoint.consecutive_5xx = endpoint.consecutive_gateway = endpoint.consecutive_local = 0;
  if (endpoint.ejections > 0 && endpoint.available(worker_.now_ms())) endpoint.ejections = 0;
}

void Cluster::count_failure(Endpoint& endpoint, int status) {
  const OutlierSpec& spec = *config_->spec.outlier;
  auto reached = [](std::uint32_t& count, std::uint32_t limit) { return ++count >= limit && limit > 0; };
  if (status == 0 && spec.consecutive_local_errors > 0) {
    if (reached(endpoint.consecutive_local, spec.consecutive_local_errors)) eject(endpoint, "local errors");
    return;
  }
  endpoint.consecutive_local = 0;
  if (status != 0 && (status < 502 || status > 504)) endpoint.consecutive_gateway = 0;
  else if (reached(endpoint.consecutive_gateway, spec.consecutive_gateway_errors)) return eject(endpoint, "gateway errors");
  if (reached(endpoint.consecutive_5xx, spec.consecutive_5xx)) eject(endpoint, "5xx");
}

void Cluster::judge_rates() {
  const OutlierSpec& spec = *config_->spec.outlier;
  judged_ms_ = worker_.now_ms();
  if (spec.success_rate) {
    std::vector<Endpoint*> judged = comparable(endpoints_, *spec.success_rate);
    double mean = 0, variance = 0;
    for (const Endpoint* e : judged) mean += success_rate(*e) / static_cast<double>(judged.size());
    for (const Endpoint* e : judged) variance += (success_rate(*e) - mean) * (success_rate(*e) - mean) / static_cast<double>(judged.size());
    double least = mean - std::sqrt(variance) * spec.success_rate->percent / 100;
    for (Endpoint* e : judged)
      if (success_rate(*e) < least) eject(*e, "success rate");
  }
  if (spec.failure_rate)
    for (Endpoint* e : comparable(endpoints_, *spec.failure_rate))
      if (std::uint64_t{e->failures} * 100 >= std::uint64_t{e->requests} * spec.failure_rate->percent) eject(*e, "failure rate");
  for (const auto& e : endpoints_) e->requests = e->failures = 0;
}

void Cluster::eject(Endpoint& endpoint, std::string_view why) {
  const OutlierSpec& spec = *config_->spec.outlier;
  std::uint64_t now = worker_.now_ms();
  if (!endpoint.available(now)) return;
  auto ejected = static_cast<std::size_t>(std::ranges::count_if(endpoints_, [now](const auto& e) { return !e->available(now); }));
  if ((ejected + 1) * 100 > endpoints_.size() * spec.ejected_percent_max) return;
  endpoint.consecutive_5xx = endpoint.consecutive_gateway = endpoint.consecutive_local = 0;
  ++endpoint.ejections;
  auto base = static_cast<std::uint64_t>(spec.base_ejection.count());
  std::uint64_t most = std::max(base, static_cast<std::uint64_t>(spec.ejection_max.count()));
  endpoint.ejected_until_ms = now + std::min(base * endpoint.ejections, most);
  stats_->ejections.add();
  log::warn("endpoint ejected", {{"cluster", config_->spec.name}, {"endpoint", endpoint.label}, {"why", why}, {"for_ms", endpoint.ejected_until_ms - now}});
}

}  // namespace monopod::proxy
