#include "network/dns/resolv_conf.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace monopod::network::dns {
namespace {

ResolvConf host() {
  return parse_resolv_conf("# made by hand\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nnonsense\nsearch a.example b.example\noptions timeout:1\n");
}

TEST(ResolvConf, ReadsWhatTheCLibraryReads) {
  ResolvConf conf = host();
  ASSERT_EQ(conf.nameservers.size(), 2U);
  EXPECT_EQ(format_ip(conf.nameservers[0]), "192.0.2.1");
  EXPECT_EQ(format_ip(conf.nameservers[1]), "fe80::1");
  EXPECT_EQ(conf.search, (std::vector<std::string>{"a.example", "b.example"}));
}

TEST(ResolvConf, ClusterFirstSearchesNamespaceServiceZoneThenTheHost) {
  PodDnsRequest request{.namespace_name = "shop", .cluster_dns = {*parse_ip("10.43.0.10")}, .host = host()};
  EXPECT_EQ(format_resolv_conf(make_pod_resolv_conf(request)),
            "search shop.svc.cluster.local svc.cluster.local cluster.local a.example b.example\n"
            "nameserver 10.43.0.10\noptions ndots:5\n");
}

TEST(ResolvConf, HostNetworkPodsGetTheHostsUnlessAskedOtherwise) {
  PodDnsRequest request{.host_network = true, .namespace_name = "shop", .cluster_dns = {*parse_ip("10.43.0.10")}, .host = host()};
  EXPECT_EQ(make_pod_resolv_conf(request).nameservers.size(), 2U);
  request.policy = DnsPolicy::kClusterFirstWithHostNet;
  EXPECT_EQ(make_pod_resolv_conf(request).nameservers, request.cluster_dns);
}

TEST(ResolvConf, DnsConfigAppendsAndReplacesOptions) {
  PodDnsRequest request{.namespace_name = "shop", .cluster_dns = {*parse_ip("10.43.0.10")}};
  request.config = {.nameservers = {*parse_ip("192.0.2.9")}, .search = {"x.example"}, .options = {"ndots:2", "edns0"}};
  EXPECT_EQ(format_resolv_conf(make_pod_resolv_conf(request)),
            "search shop.svc.cluster.local svc.cluster.local cluster.local x.example\n"
            "nameserver 10.43.0.10\nnameserver 192.0.2.9\noptions ndots:2 edns0\n");
  request.policy = DnsPolicy::kNone;
  EXPECT_EQ(make_pod_resolv_conf(request).search, (std::vector<std::string>{"x.example"}));
}

TEST(ResolvConf, LimitsCutWhatIsBeyond) {
  PodDnsRequest request{.policy = DnsPolicy::kNone};
  for (std::uint32_t i = 0; i < 40; ++i) {
    request.config.nameservers.push_back(IpAddress::v4(0x0A000000U + i));
    request.config.search.push_back(cat(std::string(90, 'x'), i));
  }
  ResolvConf conf = make_pod_resolv_conf(request);
  EXPECT_EQ(conf.nameservers.size(), 3U);
  EXPECT_EQ(conf.search.size(), 22U);
}

}  // namespace
}  // namespace monopod::network::dns
