#include "base/metrics_text.h"

#include <gtest/gtest.h>

namespace monopod::metrics {
namespace {

TEST(MetricsText, BucketsAreCumulativeAndBoundsBelongToThem) {
  static constexpr double kBounds[] = {0.001, 0.5, 2};
  Histogram histogram(kBounds);
  for (double value : {0.0005, 0.001, 0.25, 2.0, 17.0}) histogram.observe(value);
  std::string out;
  append_family(out, "x_seconds", "histogram", "How long.");
  histogram.append(out, "x_seconds", "a=\"b\"");
  EXPECT_EQ(out,
            "# HELP x_seconds How long.\n# TYPE x_seconds histogram\n"
            "x_seconds_bucket{a=\"b\",le=\"0.001\"} 2\nx_seconds_bucket{a=\"b\",le=\"0.5\"} 3\nx_seconds_bucket{a=\"b\",le=\"2\"} 4\n"
            "x_seconds_bucket{a=\"b\",le=\"+Inf\"} 5\nx_seconds_sum{a=\"b\"} 19.2515\nx_seconds_count{a=\"b\"} 5\n");
}

TEST(MetricsText, SamplesWithoutLabelsHaveNoBraces) {
  std::string out;
  append_one(out, "n", "gauge", "Some.", -3);
  append_sample(out, "d", {}, 0.125);
  EXPECT_EQ(out, "# HELP n Some.\n# TYPE n gauge\nn -3\nd 0.125\n");
}

}  // namespace
}  // namespace monopod::metrics
