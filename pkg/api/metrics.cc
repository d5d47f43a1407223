#include "api/metrics.h"

#include "base/strings.h"

namespace monopod::api {
namespace {

std::string upper(std::string_view verb) {
  std::string out(verb);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  return out;
}

}  // namespace

void Metrics::on_request(const Request& r) {
  key_ = r.long_running ? "L" : "";
  for (std::string_view label : {r.verb, r.group, r.version, r.resource, r.subresource, r.scope}) {
    key_ += label;
    key_ += '\0';
  }
  key_ += static_cast<char>(r.code / 100);
  key_ += static_cast<char>(r.code % 100);
  auto [at, fresh] = known_.try_emplace(key_);
  if (fresh) at->second = series_of(r);
  ++*at->second.count;
  if (!r.long_running) at->second.latency->observe(std::chrono::duration<double>(r.took).count());
}

Metrics::Series Metrics::series_of(const Request& r) {
  std::string verb = upper(r.verb);
  std::string place = cat("group=\"", r.group, "\",resource=\"", r.resource, "\",scope=\"", r.scope, "\",subresource=\"", r.subresource,
                          "\",verb=\"", verb, "\",version=\"", r.version, '"');
  Series out{&requests_[cat("code=\"", r.code, "\",component=\"apiserver\",dry_run=\"\",", place)]};
  if (!r.long_running) out.latency = &latency_.try_emplace(cat("component=\"apiserver\",dry_run=\"\",", place), kBuckets).first->second;
  return out;
}

std::uint64_t& Metrics::watch_events(std::string_view group, std::string_view kind) {
  return watch_events_[cat("group=\"", group, "\",kind=\"", kind, '"')];
}

std::string Metrics::format() const {
  std::string out;
  metrics::append_family(out, "apiserver_request_total", "counter", "Requests by verb, resource and status code.");
  for (const auto& [labels, count] : requests_) out += cat("apiserver_request_total{", labels, "} ", count, '\n');
  metrics::append_family(out, "apiserver_request_duration_seconds", "histogram", "Time to answer, without watches and streams.");
  for (const auto& [labels, latency] : latency_) latency.append(out, "apiserver_request_duration_seconds", labels);
  metrics::append_family(out, "apiserver_current_inflight_requests", "gauge", "Requests being answered now.");
  out += cat("apiserver_current_inflight_requests{request_kind=\"mutating\"} ", writes_in_flight, '\n');
  out += cat("apiserver_current_inflight_requests{request_kind=\"readOnly\"} ", reads_in_flight, '\n');
  metrics::append_family(out, "apiserver_longrunning_requests", "gauge", "Watches and streams open now.");
  out += cat("apiserver_longrunning_requests ", long_running, '\n');
  metrics::append_family(out, "apiserver_watch_events_total", "counter", "Events sent to watchers.");
  for (const auto& [labels, count] : watch_events_) out += cat("apiserver_watch_events_total{", labels, "} ", count, '\n');
  for (const auto& source : sources_) source(out);
  return out;
}

}  // namespace monopod::api
