#include "base/metrics_text.h"

#include <algorithm>
#include <cstdio>

#include "base/strings.h"

namespace monopod::metrics {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

void append_line(std::string& out, std::string_view name, std::string_view labels, std::string_view value) {
  out += name;
  if (!labels.empty()) out += cat('{', labels, '}');
  out += cat(' ', value, '\n');
}

}  // namespace

void append_family(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  out += cat("# HELP ", name, ' ', help, "\n# TYPE ", name, ' ', type, '\n');
}

void append_sample(std::string& out, std::string_view name, std::string_view labels, std::int64_t value) { append_line(out, name, labels, cat(value)); }
void append_sample(std::string& out, std::string_view name, std::string_view labels, double value) { append_line(out, name, labels, number(value)); }

void append_one(std::string& out, std::string_view name, std::string_view type, std::string_view help, std::int64_t value) {
  append_family(out, name, type, help);
  append_sample(out, name, {}, value);
}

void Histogram::observe(double value) {
  auto bound = std::ranges::lower_bound(bounds_, value);
  if (bound != bounds_.end()) ++counts_[static_cast<std::size_t>(bound - bounds_.begin())];
  ++count_;
  sum_ += value;
}

void Histogram::append(std::string& out, std::string_view name, std::string_view labels) const {
  std::string bucket = cat(name, "_bucket");
  std::string_view comma = labels.empty() ? "" : ",";
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < bounds_.size(); ++i) {
    below += counts_[i];
    append_sample(out, bucket, cat(labels, comma, "le=\"", number(bounds_[i]), '"'), static_cast<std::int64_t>(below));
  }
  append_sample(out, bucket, cat(labels, comma, "le=\"+Inf\""), static_cast<std::int64_t>(count_));
  append_sample(out, cat(name, "_sum"), labels, sum_);
  append_sample(out, cat(name, "_count"), labels, static_cast<std::int64_t>(count_));
}

}  // namespace monopod::metrics
