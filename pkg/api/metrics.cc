#include "api/metrics.h"

#include <cstdio>

#include "base/strings.h"

namespace monopod::api {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

void family(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out += cat("# HELP ", name, ' ', help, "\n# TYPE ", name, ' ', type, '\n');
}

std::string upper(std::string_view verb) {
  std::string out(verb);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  return out;
}

}  // namespace

void Metrics::on_request(const Request& r) {
  std::string verb = upper(r.verb);
  std::string place = cat("group=\"", r.group, "\",resource=\"", r.resource, "\",scope=\"", r.scope, "\",subresource=\"", r.subresource,
                          "\",verb=\"", verb, "\",version=\"", r.version, '"');
  ++requests_[cat("code=\"", r.code, "\",component=\"apiserver\",dry_run=\"\",", place)];
  if (r.long_running) return;
  Latency& latency = latency_[cat("component=\"apiserver\",dry_run=\"\",", place)];
  double seconds = std::chrono::duration<double>(r.took).count();
  latency.seconds += seconds;
  ++latency.total;
  for (std::size_t i = 0; i < std::size(kBuckets); ++i)
    if (seconds <= kBuckets[i]) ++latency.counts[i];
}

void Metrics::on_watch_events(std::string_view group, std::string_view kind, std::size_t count) {
  watch_events_[cat("group=\"", group, "\",kind=\"", kind, '"')] += count;
}

std::string Metrics::format() const {
  std::string out;
  family(out, "apiserver_request_total", "counter", "Requests by verb, resource and status code.");
  for (const auto& [labels, count] : requests_) out += cat("apiserver_request_total{", labels, "} ", count, '\n');
  family(out, "apiserver_request_duration_seconds", "histogram", "Time to answer, without watches and streams.");
  for (const auto& [labels, latency] : latency_) {
    for (std::size_t i = 0; i < std::size(kBuckets); ++i)
      out += cat("apiserver_request_duration_seconds_bucket{", labels, ",le=\"", number(kBuckets[i]), "\"} ", latency.counts[i], '\n');
    out += cat("apiserver_request_duration_seconds_bucket{", labels, ",le=\"+Inf\"} ", latency.total, '\n');
    out += cat("apiserver_request_duration_seconds_sum{", labels, "} ", number(latency.seconds), '\n');
    out += cat("apiserver_request_duration_seconds_count{", labels, "} ", latency.total, '\n');
  }
  family(out, "apiserver_current_inflight_requests", "gauge", "Requests being answered now.");
  out += cat("apiserver_current_inflight_requests{request_kind=\"mutating\"} ", writes_in_flight, '\n');
  out += cat("apiserver_current_inflight_requests{request_kind=\"readOnly\"} ", reads_in_flight, '\n');
  family(out, "apiserver_longrunning_requests", "gauge", "Watches and streams open now.");
  out += cat("apiserver_longrunning_requests ", long_running, '\n');
  family(out, "apiserver_watch_events_total", "counter", "Events sent to watchers.");
  for (const auto& [labels, count] : watch_events_) out += cat("apiserver_watch_events_total{", labels, "} ", count, '\n');
  for (const auto& source : sources_) source(out);
  return out;
}

}  // namespace monopod::api
