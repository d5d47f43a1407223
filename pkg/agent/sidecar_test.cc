#include "agent/sidecar.h"

#include "agent/test_pods.h"
#include "base/strings.h"

namespace monopod::agent {
namespace {

std::optional<SidecarWish> wish_of(std::string_view metadata, const Labels& ns = {}, std::string_view spec = R"({"containers":[]})") { return find_sidecar_wish(make_pod(spec, metadata), ns); }

TEST(Sidecar, WhoAsksAndWhoDeclines) {
  struct Row {
    const char* metadata;
    Labels ns;
    bool wanted;
  };
  const Row rows[] = {
      {"", {}, false},
      {R"("annotations":{"proxy.monopod.io/inject":"enabled"})", {}, true},
      {R"("labels":{"proxy.monopod.io/inject":"enabled"})", {}, true},
      {R"("annotations":{"proxy.monopod.io/inject":"perhaps"})", {}, false},
      {R"("labels":{"sidecar.istio.io/inject":"true"})", {}, true},
      {R"("annotations":{"sidecar.istio.io/inject":"true"})", {}, true},
      {R"("annotations":{"sidecar.istio.io/inject":"true","proxy.monopod.io/inject":"disabled"})", {}, false},
      {R"("labels":{"sidecar.istio.io/inject":"false"},"annotations":{"sidecar.istio.io/inject":"true"})", {}, false},
      {R"("labels":{"sidecar.istio.io/inject":"Yes"})", {}, true},
      {R"("labels":{"sidecar.istio.io/inject":""})", {{"istio-injection", "enabled"}}, true},
      {"", {{"proxy.monopod.io/inject", "enabled"}}, true},
      {"", {{"istio-injection", "enabled"}}, true},
      {"", {{"istio-injection", "enabled"}, {"proxy.monopod.io/inject", "disabled"}}, false},
      {R"("labels":{"sidecar.istio.io/inject":"false"})", {{"istio-injection", "enabled"}}, false},
      {R"("annotations":{"proxy.monopod.io/inject":"enabled","sidecar.istio.io/status":"{}"})", {}, false},
  };
  for (const Row& row : rows) EXPECT_EQ(wish_of(row.metadata, row.ns).has_value(), row.wanted) << row.metadata << row.ns.size();
  EXPECT_FALSE(wish_of(R"("annotations":{"proxy.monopod.io/inject":"enabled"})", {}, R"({"hostNetwork":true,"containers":[]})")) << "on the host's network";
}

TEST(Sidecar, OurNamesGoBeforeIstios) {
  auto wish = wish_of(R"("annotations":{"proxy.monopod.io/inject":"enabled","proxy.monopod.io/exclude-outbound-ports":"1, 2","traffic.sidecar.istio.io/excludeOutboundPorts":"3",
    "traffic.sidecar.istio.io/excludeInboundPorts":"22","traffic.sidecar.istio.io/includeOutboundIPRanges":"*","traffic.sidecar.istio.io/excludeOutboundIPRanges":"10.0.0.0/8,fd00::/8",
    "proxy.monopod.io/exclude-uids":"0,1337","proxy.monopod.io/http-inbound-ports":"8080"})");
  ASSERT_TRUE(wish);
  auto rules = parse_sidecar_rules(*wish);
  ASSERT_TRUE(rules) << rules.error().message();
  EXPECT_EQ(rules->spec.outbound_ports_excluded, (std::vector<std::uint16_t>{1, 2}));
  EXPECT_EQ(rules->spec.inbound_ports_excluded, (std::vector<std::uint16_t>{22}));
  EXPECT_TRUE(rules->spec.cidrs_included.empty()) << "all";
  ASSERT_EQ(rules->spec.cidrs_excluded.size(), 2U);
  EXPECT_EQ(network::format_cidr(rules->spec.cidrs_excluded[1]), "fd00::/8");
  EXPECT_EQ(rules->spec.uids_excluded, (std::vector<std::uint32_t>{0, 1337}));
  EXPECT_EQ(rules->http_inbound_ports, (std::vector<std::uint16_t>{8080}));
  EXPECT_TRUE(rules->inbound && rules->outbound);
}

TEST(Sidecar, TheModeIsRedirectUnlessItIsAskedFor) {
  struct Row {
    const char* annotation;
    bool in, out;
  };
  for (auto [annotation, in, out] : {Row{"proxy.monopod.io/interception-mode", true, false}, {"sidecar.istio.io/interceptionMode", true, false}, {"proxy.monopod.io/outbound-interception-mode", false, true}, {"x", false, false}}) {
    auto wish = wish_of(cat(R"("annotations":{"proxy.monopod.io/inject":"enabled",")", annotation, R"(":"TPROXY"})"));
    ASSERT_TRUE(wish);
    auto rules = parse_sidecar_rules(*wish);
    ASSERT_TRUE(rules);
    EXPECT_EQ(rules->spec.inbound_transparent, in) << annotation;
    EXPECT_EQ(rules->spec.outbound_transparent, out) << annotation;
  }
}

TEST(Sidecar, AnEmptyListOfWhatToIncludeIsNothing) {
  auto nothing = parse_sidecar_rules({{"include-inbound-ports", ""}, {"include-outbound-cidrs", " "}});
  ASSERT_TRUE(nothing);
  EXPECT_FALSE(nothing->inbound || nothing->outbound);
  auto ports = parse_sidecar_rules({{"include-outbound-cidrs", ""}, {"include-outbound-ports", "80"}});
  ASSERT_TRUE(ports);
  EXPECT_TRUE(ports->outbound);
}

TEST(Sidecar, WhatCannotBeReadIsNamed) {
  struct Row {
    const char *name, *text, *why;
  };
  const Row rows[] = {
      {"exclude-inbound-ports", "65536", "annotation proxy.monopod.io/exclude-inbound-ports: \"65536\": want ports from 1 to 65535"},
      {"exclude-outbound-ports", "0", "\"0\": want ports"},
      {"exclude-outbound-ports", "*", "\"*\": want ports"},
      {"include-outbound-ports", "80;81", "\"80;81\": want ports"},
      {"interception-mode", "tproxy", "annotation proxy.monopod.io/interception-mode: \"tproxy\": want REDIRECT or TPROXY"},
      {"outbound-interception-mode", "", "annotation proxy.monopod.io/outbound-interception-mode: \"\": want REDIRECT or TPROXY"},
      {"exclude-uids", "root", "\"root\": want numbers of users"},
      {"exclude-outbound-cidrs", "10.0.0.1/33", "\"10.0.0.1/33\": "},
  };
  for (const Row& row : rows) {
    auto rules = parse_sidecar_rules({{row.name, row.text}});
    ASSERT_FALSE(rules) << row.name;
    EXPECT_NE(rules.error().message().find(row.why), std::string::npos) << rules.error().message();
    EXPECT_EQ(rules.error().code(), Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace monopod::agent
