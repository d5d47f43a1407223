// Counters in Prometheus' text form, under the names that upstream's apiserver uses.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/metrics_text.h"

namespace monopod::api {

class Metrics {
 public:
  struct Request {
    std::string_view verb, group, version, resource, subresource, scope;
    int code = 0;
    Duration took{};
    bool long_running = false;
  };
  void on_request(const Request& request);
  // The counter of events sent of one kind; valid for ever.
  std::uint64_t& watch_events(std::string_view group, std::string_view kind);

  int reads_in_flight = 0;
  int writes_in_flight = 0;
  int long_running = 0;

  // Further lines, asked at each scrape.
  void add_source(std::function<void(std::string& out)> source) { sources_.push_back(std::move(source)); }
  std::string format() const;

 private:
  static constexpr double kBuckets[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 5, 10, 30, 60};
  // Where requests with the same labels are counted: no text is made for each.
  struct Series {
    std::uint64_t* count = nullptr;
    metrics::Histogram* latency = nullptr;  // null for what runs long
  };
  Series series_of(const Request& request);

  std::string key_;  // the labels of the request at hand
  std::unordered_map<std::string, Series> known_;
  std::map<std::string, std::uint64_t, std::less<>> requests_;
  std::map<std::string, metrics::Histogram, std::less<>> latency_;
  std::map<std::string, std::uint64_t, std::less<>> watch_events_;
  std::vector<std::function<void(std::string&)>> sources_;
};

}  // namespace monopod::api
