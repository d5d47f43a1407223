// A3: /proxy of pods, services and nodes whose address is this host's, a neighbour's by link, or the cloud's metadata (CVE-2022-3294,
// CVE-2020-8555, CVE-2020-8562). The address that was checked is the one that is dialled: no name is looked up in between.
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const http::Headers kMerge{{"content-type", "application/merge-patch+json"}};
constexpr std::string_view kRefused[] = {"127.0.0.1", "127.8.8.8", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "ff02::1",
                                         "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1", "::127.0.0.1", "localhost", "metadata.google.internal", "127.1", "0x7f000001", "2130706433", ""};

async::Task<Result<>> addresses(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  CO_CALL(pod, "POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"p"},"spec":{"nodeName":"n","containers":[{"name":"c","image":"i","ports":[{"containerPort":1}]}]}})");
  CO_EXPECT_STATUS(pod, 201);
  CO_CALL(node, "POST", "/api/v1/nodes", R"({"metadata":{"name":"n"}})");
  CO_EXPECT_STATUS(node, 201);
  for (std::string_view address : kRefused) {
    CO_CALL(moved, "PATCH", "/api/v1/namespaces/default/pods/p/status", cat(R"({"status":{"podIP":")", address, R"(","podIPs":[{"ip":")", address, R"("}]}})"), kMerge);
    CO_CALL(asked, "GET", "/api/v1/namespaces/default/pods/p:1/proxy/x");
    if (moved.status == 200) {
      CO_EXPECT_STATUS(asked, 400);
      EXPECT_NE(asked.text({"message"}).find("address not allowed"), std::string::npos) << address << ": " << asked.body;
    }
    CO_CALL(there, "PATCH", "/api/v1/nodes/n/status", cat(R"({"status":{"addresses":[{"type":"InternalIP","address":")", address, R"("}]}})"), kMerge);
    CO_CALL(of_node, "GET", "/api/v1/nodes/n:1/proxy/x");
    if (there.status == 200) {
      CO_EXPECT_STATUS(of_node, 400);
      EXPECT_NE(of_node.text({"message"}).find("address not allowed"), std::string::npos) << address << ": " << of_node.body;
    }
  }
  // An address that may be dialled is: nobody answers there within this test's network, and the error says so.
  CO_CALL(fine, "PATCH", "/api/v1/nodes/n/status", R"({"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"}]}})", kMerge);
  CO_EXPECT_STATUS(fine, 200);
  CO_CALL(bad_port, "GET", "/api/v1/nodes/n:70000/proxy/x");
  CO_EXPECT_STATUS(bad_port, 503);
  EXPECT_NE(bad_port.text({"message"}).find("unknown port"), std::string::npos) << bad_port.body << ": past the check of the address";
  co_return Result<>();
}
TEST(A03Proxies, StayOffTheHostsOwnAddresses) { with_cluster(addresses); }

async::Task<Result<>> services(TestCluster& cluster) {
  CO_CALL(service, "POST", "/api/v1/namespaces/default/services", R"({"metadata":{"name":"s"},"spec":{"ports":[{"name":"http","port":80}]}})");
  CO_EXPECT_STATUS(service, 201);
  CO_CALL(external, "POST", "/api/v1/namespaces/default/services", R"({"metadata":{"name":"e"},"spec":{"type":"ExternalName","externalName":"localhost","ports":[{"name":"http","port":80}]}})");
  CO_EXPECT_STATUS(external, 201);
  CO_CALL(named, "GET", "/api/v1/namespaces/default/services/e:80/proxy/");
  CO_EXPECT_STATUS(named, 503);
  EXPECT_NE(named.text({"message"}).find("no endpoints available"), std::string::npos) << named.body << ": a name is never looked up";
  for (std::string_view address : {"127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1", "224.0.0.1"}) {
    CO_CALL(endpoints, "POST", "/api/v1/namespaces/default/endpoints", cat(R"({"metadata":{"name":"s"},"subsets":[{"addresses":[{"ip":")", address, R"("}],"ports":[{"name":"http","port":80}]}]})"));
    EXPECT_EQ(endpoints.status, 422) << address << endpoints.body << ": A10 keeps them out already";
  }
  co_return Result<>();
}
TEST(A03Proxies, OfServicesKnowNoNames) { with_cluster(services); }

}  // namespace
}  // namespace monopod::api
