// A10: Endpoints and EndpointSlices that lead to loopback or link-local addresses (CVE-2021-25737), whose writing no ordinary role grants
// (CVE-2021-25740); external addresses of Services (CVE-2020-8554).
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kRefused[] = {"127.0.0.1", "127.255.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "::1", "fe80::1", "ff02::1", "::", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "localhost", "1.2.3", "01.2.3.4", ""};

async::Task<Result<>> addresses(TestCluster& cluster) {
  for (std::string_view address : kRefused) {
    CO_CALL(endpoints, "POST", "/api/v1/namespaces/default/endpoints", cat(R"({"metadata":{"name":"e"},"subsets":[{"addresses":[{"ip":")", address, R"("}],"ports":[{"port":80}]}]})"));
    EXPECT_EQ(endpoints.status, 422) << address << endpoints.body;
    CO_CALL(waiting, "POST", "/api/v1/namespaces/default/endpoints", cat(R"({"metadata":{"name":"e"},"subsets":[{"notReadyAddresses":[{"ip":")", address, R"("}],"ports":[{"port":80}]}]})"));
    EXPECT_EQ(waiting.status, 422) << address << waiting.body;
    std::string_view family = address.find(':') == std::string_view::npos ? "IPv4" : "IPv6";
    CO_CALL(slice, "POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            cat(R"({"metadata":{"name":"e"},"addressType":")", family, R"(","endpoints":[{"addresses":[")", address, R"("]}],"ports":[{"port":80}]})"));
    EXPECT_EQ(slice.status, 422) << address << slice.body;
    CO_CALL(external, "POST", "/api/v1/namespaces/default/services", cat(R"({"metadata":{"name":"s"},"spec":{"ports":[{"port":80}],"externalIPs":[")", address, R"("]}})"));
    EXPECT_EQ(external.status, 422) << address << external.body;
  }
  CO_CALL(fine, "POST", "/api/v1/namespaces/default/endpoints", R"({"metadata":{"name":"e"},"subsets":[{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"port":80}]}]})");
  CO_EXPECT_STATUS(fine, 201);
  CO_CALL(slice, "POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", R"({"metadata":{"name":"e"},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"port":80}]})");
  CO_EXPECT_STATUS(slice, 201);
  CO_CALL(turned, "PATCH", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/e", R"({"endpoints":[{"addresses":["127.0.0.1"]}]})", {{"content-type", "application/merge-patch+json"}});
  EXPECT_EQ(turned.status, 422) << "nor by a change: " << turned.body;
  co_return Result<>();
}
TEST(A10Endpoints, DoNotLeadToTheHost) { with_cluster(addresses); }

async::Task<Result<>> roles(TestCluster& cluster) {
  for (std::string_view role : {"admin", "edit"}) {
    CO_CALL(seen, "GET", cat("/apis/rbac.authorization.k8s.io/v1/clusterroles/", role));
    json::Value tree = seen.tree();
    const json::Array* rules = json::get_array(tree, {"rules"});
    if (rules == nullptr) co_return fail(Code::kInternal, seen.body);
    for (const json::Value& rule : *rules) {
      bool writes = false, names = false;
      for (const json::Value& verb : *json::get_array(rule, {"verbs"})) writes = writes || verb == "create" || verb == "update" || verb == "patch" || verb == "*";
      if (const json::Array* list = json::get_array(rule, {"resources"}))
        for (const json::Value& resource : *list) names = names || resource == "endpoints" || resource == "endpointslices";
      EXPECT_FALSE(writes && names) << role << ": " << json::format(rule);
    }
  }
  co_return Result<>();
}
TEST(A10Endpoints, AreWrittenByNoOrdinaryRole) { with_cluster(roles); }

}  // namespace
}  // namespace monopod::api
