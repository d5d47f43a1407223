// A worker's counters as Prometheus' text, and its clusters as a table.
#include "proxy/observe/metrics.h"

#include "base/metrics_text.h"
#include "base/strings.h"
#include "proxy/listener/worker.h"
#include "proxy/observe/tracing.h"

namespace monopod::proxy {
namespace {

// One family over all members of a map.
template <typename Map, typename F>
void append_counters(std::string& out, std::string_view family, std::string_view type, std::string_view help, std::string_view label, const Map& map, F value) {
  metrics::append_family(out, family, type, help);
  for (const auto& [name, stats] : map) metrics::append_sample(out, family, cat(label, "=\"", name, "\""), static_cast<std::int64_t>(value(*stats).get()));
}

template <typename Map>
void append_classes(std::string& out, std::string_view family, std::string_view help, std::string_view label, const Map& map) {
  metrics::append_family(out, family, "counter", help);
  for (const auto& [name, stats] : map)
    for (std::size_t i = 0; i < stats->by_class.size(); ++i)
      if (std::uint64_t n = stats->by_class[i].get(); n > 0) metrics::append_sample(out, family, cat(label, "=\"", name, "\",code=\"", i == 0 ? std::string("none") : cat(i, "xx"), "\""), static_cast<std::int64_t>(n));
}

template <typename Map>
void append_durations(std::string& out, const Map& map) {
  constexpr std::string_view kName = "monopod_proxy_request_duration_milliseconds";
  metrics::append_family(out, kName, "histogram", "From a request's head to its answer's end.");
  for (const auto& [name, stats] : map) {
    std::string label = cat("listener=\"", name, "\"");
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < stats->duration.size(); ++i) {
      sum += stats->duration[i].get();
      std::string bound = i < kDurationBoundsMs.size() ? cat(kDurationBoundsMs[i]) : "+Inf";
      metrics::append_sample(out, cat(kName, "_bucket"), cat(label, ",le=\"", bound, "\""), static_cast<std::int64_t>(sum));
    }
    metrics::append_sample(out, cat(kName, "_sum"), label, static_cast<std::int64_t>(stats->duration_sum_ms.get()));
    metrics::append_sample(out, cat(kName, "_count"), label, static_cast<std::int64_t>(sum));
  }
}

}  // namespace

void Worker::append_metrics(std::string& out) const {
  using L = ListenerStats;
  auto listener = [&](std::string_view name, std::string_view type, std::string_view help, Counter L::*member) {
    append_counters(out, cat("monopod_proxy_", name), type, help, "listener", listener_stats_, [member](const L& s) -> const Counter& { return s.*member; });
  };
  listener("joined_total", "counter", "TCP connections that the kernel carries (sockmap).", &L::joined);
  listener("connections_total", "counter", "Accepted connections.", &L::connections_total);
  listener("connections_active", "gauge", "Open client connections.", &L::connections_active);
  listener("requests_active", "gauge", "Requests under way.", &L::requests_active);
  listener("received_bytes_total", "counter", "Bytes of requests, or from TCP clients.", &L::bytes_received);
  listener("sent_bytes_total", "counter", "Bytes of answers, or to TCP clients.", &L::bytes_sent);
  listener("refused_heads_total", "counter", "Request heads that were malformed or ambiguous.", &L::refused_heads);
  listener("handshakes_total", "counter", "TLS handshakes with clients.", &L::handshakes);
  listener("handshakes_resumed_total", "counter", "Those that went on with a session of before.", &L::handshakes_resumed);
  listener("peers_cut_total", "counter", "Connections ended because the client's certificate expired or was revoked.", &L::peers_cut);
  listener("handshake_failures_total", "counter", "TLS handshakes with clients that failed.", &L::handshake_failures);
  listener("overloaded_total", "counter", "Connections not accepted, for want of descriptors or past connections_max or memory_mb.", &L::overloaded);
  append_classes(out, "monopod_proxy_requests_total", "Requests by the class of their answer's status.", "listener", listener_stats_);
  append_durations(out, listener_stats_);
  append_classes(out, "monopod_proxy_route_requests_total", "Requests by route.", "listener", route_stats_);

  using C = ClusterStats;
  auto cluster = [&](std::string_view name, std::string_view type, std::string_view help, Counter C::*member) {
    append_counters(out, cat("monopod_proxy_upstream_", name), type, help, "cluster", cluster_stats_, [member](const C& s) -> const Counter& { return s.*member; });
  };
  cluster("connections_total", "counter", "Connections to endpoints.", &C::connections_total);
  cluster("connections_active", "gauge", "Open connections to endpoints.", &C::connections_active);
  cluster("connect_failures_total", "counter", "Connections that could not be made.", &C::connect_failures);
  cluster("attempts_total", "counter", "Requests sent to endpoints, retries included.", &C::requests_total);
  cluster("requests_active", "gauge", "Requests at endpoints.", &C::requests_active);
  cluster("pending", "gauge", "Requests that wait for a connection.", &C::pending);
  cluster("retries_total", "counter", "Retries.", &C::retries);
  cluster("retry_overflows_total", "counter", "Retries and hedges that limits.retries or retry_budget did not allow.", &C::retry_overflows);
  cluster("hedges_total", "counter", "Tries beside one that was under way.", &C::hedges);
  cluster("hedges_won_total", "counter", "Those that answered first.", &C::hedges_won);
  cluster("mirrors_total", "counter", "Copies of requests that this cluster got as a mirror.", &C::mirrors);
  cluster("mirrors_skipped_total", "counter", "Requests that were too large for a copy, or there were too many.", &C::mirrors_skipped);
  cluster("overflows_total", "counter", "Requests refused by a limit.", &C::overflows);
  cluster("timeouts_total", "counter", "Attempts and requests that took too long.", &C::timeouts);
  cluster("resets_total", "counter", "Connections lost before an answer.", &C::resets);
  cluster("ejections_total", "counter", "Endpoints ejected as outliers.", &C::ejections);
  cluster("lookups_total", "counter", "Names of endpoints looked up.", &C::lookups);
  cluster("lookup_failures_total", "counter", "Those that came to nothing: the addresses before stay.", &C::lookup_failures);
  cluster("handshakes_total", "counter", "TLS handshakes with endpoints.", &C::handshakes);
  cluster("handshakes_resumed_total", "counter", "Those that went on with a session of before.", &C::handshakes_resumed);
  cluster("peers_cut_total", "counter", "Connections ended because the endpoint's certificate expired or was revoked.", &C::peers_cut);
  append_classes(out, "monopod_proxy_upstream_requests_total", "Requests by cluster and class of the status.", "cluster", cluster_stats_);
  append_tracing(out);
  metrics::append_one(out, "monopod_proxy_log_lines_dropped_total", "counter", "Lines of access logs that a full or slow disk did not take.",
                      log_writer_ ? static_cast<std::int64_t>(log_writer_->lines_dropped()) : 0);
}

void Worker::append_tracing(std::string& out) const {
  metrics::append_one(out, "monopod_proxy_spans_exported_total", "counter", "Spans that the collector took.", static_cast<std::int64_t>(tracer_->exported()));
  metrics::append_one(out, "monopod_proxy_spans_dropped_total", "counter", "Spans that it did not take, or that were too many.", static_cast<std::int64_t>(tracer_->dropped()));
}

std::string Worker::describe_clusters() const {
  std::string out;
  for (const auto& cluster : clusters_) {
    out += cat(cluster->config().spec.name, "\n");
    for (const auto& e : cluster->endpoints())
      out += cat("  ", e->label, "  weight ", e->weight, "  active ", e->active, "  idle ", e->idle.size(), "  ", e->healthy ? "healthy" : "unhealthy",
                 e->ejected_until_ms > now_ms_ ? cat("  ejected for ", e->ejected_until_ms - now_ms_, " ms") : std::string(), "\n");
  }
  return out;
}

}  // namespace monopod::proxy
