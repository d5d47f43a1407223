#include "proxy/observe/table.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <vector>

#include "base/strings.h"

namespace monopod::proxy {
namespace {

using Samples = std::map<std::string_view, double>;  // by name with labels

Samples parse_samples(std::string_view text) {
  Samples out;
  for (std::string_view line : split(text, '\n')) {
    std::size_t blank = line.rfind(' ');
    if (line.starts_with('#') || blank == std::string_view::npos) continue;
    if (auto value = parse_int<std::int64_t>(line.substr(blank + 1))) out.emplace(line.substr(0, blank), static_cast<double>(*value));
  }
  return out;
}

// Values of the label in series of this name, in their order.
std::vector<std::string> labels_of(const Samples& samples, std::string_view name, std::string_view label) {
  std::vector<std::string> out;
  std::string begin = cat(name, "{", label, "=\"");
  for (auto it = samples.lower_bound(begin); it != samples.end() && it->first.starts_with(begin); ++it) {
    std::string_view rest = it->first.substr(begin.size());
    std::string value(rest.substr(0, rest.find("\"}")));
    if (std::size_t more = value.find("\","); more != std::string::npos && label != "listener\",route") value.resize(more);
    if (out.empty() || out.back() != value) out.push_back(std::move(value));
  }
  return out;
}

std::string human(double value) {
  static constexpr std::string_view kUnits[] = {"", "k", "M", "G", "T"};
  std::size_t unit = 0;
  for (; value >= 1000 && unit < std::size(kUnits) - 1; ++unit) value /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, value >= 100 || (unit == 0 && value == static_cast<double>(static_cast<std::int64_t>(value))) ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value);
  return cat(text, kUnits[unit]);
}

class Reading {
 public:
  Reading(std::string_view before, std::string_view now, double seconds) : before_(parse_samples(before)), now_(parse_samples(now)), seconds_(seconds > 0 ? seconds : 1) {}
  const Samples& now() const { return now_; }
  double value(const std::string& series) const { return find(now_, series); }
  double rate(const std::string& series) const { return std::max(0.0, find(now_, series) - find(before_, series)) / seconds_; }
  // Of all codes, or those that begin with one digit.
  double class_rate(std::string_view name, std::string_view labels, char digit) const {
    double sum = 0;
    for (std::string_view code : {"none", "1xx", "2xx", "3xx", "4xx", "5xx"})
      if (digit == 0 || code[0] == digit) sum += rate(cat(name, "{", labels, ",code=\"", code, "\"}"));
    return sum;
  }
  // The bound below which this share of requests lay meanwhile; empty where there were none.
  std::string quantile(std::string_view listener, double share) const {
    constexpr std::string_view kName = "monopod_proxy_request_duration_milliseconds";
    double all = rate(cat(kName, "_count{listener=\"", listener, "\"}"));
    if (all <= 0) return "-";
    for (std::string_view bound : {"1", "2", "5", "10", "25", "50", "100", "250", "500", "1000", "5000", "15000"})
      if (rate(cat(kName, "_bucket{listener=\"", listener, "\",le=\"", bound, "\"}")) >= all * share) return cat("<=", bound);
    return ">15000";
  }

 private:
  static double find(const Samples& samples, const std::string& series) {
    auto found = samples.find(series);
    return found == samples.end() ? 0 : found->second;
  }
  Samples before_, now_;
  double seconds_;
};

class Table {
 public:
  explicit Table(std::vector<std::string> heads) { rows_.push_back(std::move(heads)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void append(std::vector<std::string>& lines, std::size_t columns) const {
    std::vector<std::size_t> widths(rows_.front().size());
    for (const auto& row : rows_)
      for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], std::min<std::size_t>(row[i].size(), 40));
    for (const auto& row : rows_) {
      std::string line;
      for (std::size_t i = 0; i < row.size(); ++i) {
        std::string cell = row[i].substr(0, widths[i]);
        std::string pad(widths[i] - cell.size(), ' ');
        line += i == 0 ? cat(cell, pad) : cat("  ", pad, cell);
      }
      lines.push_back(line.substr(0, columns));
    }
  }

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace

std::string format_top(std::string_view before, std::string_view now, std::chrono::duration<double> between, std::size_t columns, std::size_t rows) {
  Reading r(before, now, between.count());
  std::vector<std::string> lines;
  Table listeners({"LISTENER", "CONNS", "REQ/S", "ACTIVE", "2XX/S", "4XX/S", "5XX/S", "P50 MS", "P99 MS", "IN B/S", "OUT B/S", "TLS/S", "RESUMED/S"});
  for (const std::string& name : labels_of(r.now(), "monopod_proxy_connections_total", "listener")) {
    std::string label = cat("{listener=\"", name, "\"}"), inner = cat("listener=\"", name, "\"");
    listeners.add({name, human(r.value(cat("monopod_proxy_connections_active", label))), human(r.class_rate("monopod_proxy_requests_total", inner, 0)),
                   human(r.value(cat("monopod_proxy_requests_active", label))), human(r.class_rate("monopod_proxy_requests_total", inner, '2')),
                   human(r.class_rate("monopod_proxy_requests_total", inner, '4')), human(r.class_rate("monopod_proxy_requests_total", inner, '5')), r.quantile(name, 0.5), r.quantile(name, 0.99),
                   human(r.rate(cat("monopod_proxy_received_bytes_total", label))), human(r.rate(cat("monopod_proxy_sent_bytes_total", label))),
                   human(r.rate(cat("monopod_proxy_handshakes_total", label))), human(r.rate(cat("monopod_proxy_handshakes_resumed_total", label)))});
  }
  listeners.append(lines, columns);
  lines.emplace_back();
  Table clusters({"CLUSTER", "CONNS", "REQ/S", "ACTIVE", "PENDING", "5XX/S", "RETRY/S", "FAIL/S", "TIMEOUT/S", "OVER/S", "EJECTED"});
  for (const std::string& name : labels_of(r.now(), "monopod_proxy_upstream_connections_total", "cluster")) {
    std::string label = cat("{cluster=\"", name, "\"}"), inner = cat("cluster=\"", name, "\"");
    auto rate = [&](std::string_view what) { return human(r.rate(cat("monopod_proxy_upstream_", what, label))); };
    auto value = [&](std::string_view what) { return human(r.value(cat("monopod_proxy_upstream_", what, label))); };
    clusters.add({name, value("connections_active"), rate("attempts_total"), value("requests_active"), value("pending"), human(r.class_rate("monopod_proxy_upstream_requests_total", inner, '5')),
                  rate("retries_total"), human(r.rate(cat("monopod_proxy_upstream_connect_failures_total", label)) + r.rate(cat("monopod_proxy_upstream_resets_total", label))), rate("timeouts_total"),
                  rate("overflows_total"), value("ejections_total")});
  }
  clusters.append(lines, columns);
  lines.emplace_back();
  std::vector<std::pair<double, std::string>> busiest;
  for (const std::string& name : labels_of(r.now(), "monopod_proxy_route_requests_total", "listener"))
    for (const std::string& route : labels_of(r.now(), "monopod_proxy_route_requests_total", cat("listener=\"", name, "\",route")))
      busiest.emplace_back(-r.class_rate("monopod_proxy_route_requests_total", cat("listener=\"", name, "\",route=\"", route, "\""), 0), cat(name, "\",route=\"", route));
  std::ranges::sort(busiest);
  Table routes({"ROUTE", "REQ/S", "2XX/S", "4XX/S", "5XX/S"});
  for (const auto& [rate, name] : busiest) {
    std::string inner = cat("listener=\"", name, "\"");
    std::string shown = name;
    shown.replace(shown.find("\",route=\""), 9, " ");
    auto of = [&](char digit) { return human(r.class_rate("monopod_proxy_route_requests_total", inner, digit)); };
    routes.add({shown, human(-rate), of('2'), of('4'), of('5')});
  }
  routes.append(lines, columns);
  std::string out;
  for (std::size_t i = 0; i < lines.size() && i < rows; ++i) out += cat(lines[i], "\n");
  return out;
}

}  // namespace monopod::proxy
