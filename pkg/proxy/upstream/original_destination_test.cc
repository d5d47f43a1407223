#include <gtest/gtest.h>

#include "base/strings.h"
#include "proxy/limits.h"
#include "proxy/listener/worker.h"

namespace monopod::proxy {
namespace {

Address address(std::size_t number) { return *Address::parse(cat("10.0.", number / 250, ".", number % 250 + 1, ":80")); }

TEST(OriginalDestination, EachAddressIsAnEndpointUpToTheLimit) {
  SeededRng rng(1);
  auto worker = Worker::make(rng);
  ASSERT_TRUE(worker);
  auto config = std::make_shared<ClusterConfig>();
  config->spec = {.original_destination = true, .name = "outside"};
  auto cluster = std::make_shared<Cluster>(**worker, config, std::make_shared<ClusterStats>());
  EXPECT_EQ(cluster->pick(0, nullptr, nullptr), nullptr) << "not redirected";
  Address first = address(0);
  Endpoint* endpoint = cluster->pick(0, nullptr, &first);
  ASSERT_NE(endpoint, nullptr);
  EXPECT_EQ(endpoint->label, "10.0.0.1:80");
  EXPECT_EQ(cluster->pick(0, endpoint, &first), endpoint) << "there is no other";
  for (std::size_t i = 1; i < kOriginalDestinationsMax; ++i) {
    Address other = address(i);
    EXPECT_NE(cluster->pick(0, nullptr, &other), nullptr);
  }
  Address more = address(kOriginalDestinationsMax);
  EXPECT_EQ(cluster->pick(0, nullptr, &more), nullptr);
  EXPECT_EQ(cluster->pick(0, nullptr, &first), endpoint) << "those that are known stay";
}

}  // namespace
}  // namespace monopod::proxy
