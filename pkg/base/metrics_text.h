// Prometheus' text form (prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4), and the histogram in it. Counters are plain
// integers of whoever counts; they become text when somebody asks.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace monopod::metrics {

inline constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

// The HELP and TYPE lines. type: counter, gauge or histogram.
void append_family(std::string& out, std::string_view name, std::string_view type, std::string_view help);
// One line. labels: `a="b",c="d"`, or empty.
void append_sample(std::string& out, std::string_view name, std::string_view labels, std::int64_t value);
void append_sample(std::string& out, std::string_view name, std::string_view labels, double value);
// Both, of a family with one member.
void append_one(std::string& out, std::string_view name, std::string_view type, std::string_view help, std::int64_t value);

// How often a value fell below each bound. Not for several threads.
class Histogram {
 public:
  // bounds rise, and outlive it.
  explicit Histogram(std::span<const double> bounds) : bounds_(bounds), counts_(bounds.size()) {}
  void observe(double value);
  std::uint64_t count() const { return count_; }
  // The lines of one member of a family.
  void append(std::string& out, std::string_view name, std::string_view labels) const;

 private:
  std::span<const double> bounds_;
  std::vector<std::uint64_t> counts_;  // by the first bound that holds the value; what exceeds all is in count_ alone
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

}  // namespace monopod::metrics
