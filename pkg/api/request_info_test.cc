#include "api/request_info.h"

#include <gtest/gtest.h>

namespace monopod::api {
namespace {

struct Row {
  std::string_view method, target, verb, group, ns, resource, subresource, name;
};

TEST(RequestInfo, ResourcePathsAreReadAsUpstreamDoes) {
  const Row rows[] = {
      {"GET", "/api/v1/pods", "list", "", "", "pods", "", ""},
      {"GET", "/api/v1/pods?watch=true", "watch", "", "", "pods", "", ""},
      {"GET", "/api/v1/pods?watch=false", "list", "", "", "pods", "", ""},
      {"GET", "/api/v1/watch/namespaces/a/pods", "watch", "", "a", "pods", "", ""},
      {"GET", "/api/v1/namespaces/a/pods/p", "get", "", "a", "pods", "", "p"},
      {"POST", "/api/v1/namespaces/a/pods/p/eviction", "create", "", "a", "pods", "eviction", "p"},
      {"GET", "/api/v1/namespaces/a", "get", "", "a", "namespaces", "", "a"},
      {"PUT", "/api/v1/namespaces/a/finalize", "update", "", "a", "namespaces", "finalize", "a"},
      {"DELETE", "/apis/apps/v1/namespaces/a/deployments", "deletecollection", "apps", "a", "deployments", "", ""},
      {"GET", "/api/v1/pods?fieldSelector=metadata.name%3Dx&watch=1", "watch", "", "", "pods", "", "x"},
      {"GET", "/healthz", "get", "", "", "", "", ""},
      {"GET", "/api/v1", "get", "", "", "", "", ""},
  };
  for (const Row& row : rows) {
    auto info = parse_request(row.method, row.target);
    ASSERT_TRUE(info) << row.target;
    EXPECT_EQ(info->verb, row.verb) << row.target;
    EXPECT_EQ(info->group, row.group) << row.target;
    EXPECT_EQ(info->ns, row.ns) << row.target;
    EXPECT_EQ(info->resource, row.resource) << row.target;
    EXPECT_EQ(info->subresource, row.subresource) << row.target;
    EXPECT_EQ(info->name, row.name) << row.target;
  }
}

TEST(RequestInfo, PathsThatCouldLeaveTheirKeySpaceAreRefused) {
  for (std::string_view target : {"/api/v1/namespaces/a/pods/..", "/api/v1/namespaces/a/pods/%2e%2e", "/api/v1/namespaces/../pods/x",
                                  "/api/v1/namespaces/a/pods/x%2fy", "/api/v1/namespaces/%2e%2e%2fsecrets/pods", "/api/v1/namespaces//pods/x",
                                  "/api/v1/namespaces/a/pods/%zz", "/api/v1/namespaces/a/pods/x%00"}) {
    auto info = parse_request("GET", target);
    EXPECT_TRUE(!info || info->ns == "a") << target;
    if (info) EXPECT_NE(info->name.find("a"), 0U) << target;
    EXPECT_FALSE(info) << target;
  }
}

TEST(RequestInfo, UriOverTheLimitIsRefused) {
  std::string target = "/api/v1/pods?x=";
  target.append(17000, 'a');
  auto info = parse_request("GET", target);
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, 414);
}

}  // namespace
}  // namespace monopod::api
