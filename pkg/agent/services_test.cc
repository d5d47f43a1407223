#include "agent/services.h"

#include <gtest/gtest.h>

#include "agent/node_status.h"
#include "agent/status_manager.h"

namespace monopod::agent {
namespace {

json::Value tree(std::string_view text) {
  auto parsed = json::parse(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : json::Value();
}

TEST(Services, ClusterIpPortsMeetTheirEndpoints) {
  auto tables = make_service_tables(
      {tree(R"({"metadata":{"namespace":"default","name":"web"},"spec":{"clusterIP":"10.43.0.9","clusterIPs":["10.43.0.9"],"sessionAffinity":"ClientIP",
        "ports":[{"name":"http","port":80,"targetPort":8080,"nodePort":30080,"protocol":"TCP"}]}})")},
      {tree(R"({"metadata":{"namespace":"default","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","ports":[{"name":"http","port":8080}],
        "endpoints":[{"addresses":["10.42.0.5"],"conditions":{"ready":true},"nodeName":"n1"},{"addresses":["10.42.0.6"],"conditions":{"ready":false,"serving":true,"terminating":true},"nodeName":"n2"}]})")},
      {"default"}, "n1");
  ASSERT_EQ(tables.services.services.size(), 1U);
  const network::Service& s = tables.services.services[0];
  EXPECT_EQ(s.name, "default/web");
  EXPECT_EQ(s.client_ip_affinity, std::chrono::seconds(10'800));
  ASSERT_EQ(s.ports.size(), 1U);
  EXPECT_EQ(s.ports[0].node_port, 30080);
  ASSERT_EQ(s.ports[0].endpoints.size(), 2U);
  EXPECT_EQ(s.ports[0].endpoints[0].port, 8080);
  EXPECT_TRUE(s.ports[0].endpoints[0].ready && s.ports[0].endpoints[0].local);
  EXPECT_FALSE(s.ports[0].endpoints[1].ready);
  EXPECT_TRUE(s.ports[0].endpoints[1].serving_terminating);
  EXPECT_EQ(tables.dns.services[0].cluster_ips.size(), 1U);
}

TEST(Services, HeadlessAndExternalNamesLiveInDnsOnly) {
  auto tables = make_service_tables({tree(R"({"metadata":{"namespace":"a","name":"db"},"spec":{"clusterIP":"None","ports":[{"name":"pg","port":5432}]}})"),
                                     tree(R"({"metadata":{"namespace":"a","name":"ext"},"spec":{"type":"ExternalName","externalName":"example.org"}})")},
                                    {tree(R"({"metadata":{"namespace":"a","labels":{"kubernetes.io/service-name":"db"}},"ports":[{"name":"pg","port":5432}],
        "endpoints":[{"addresses":["10.42.0.5"],"hostname":"db-0"},{"addresses":["10.42.0.6"],"conditions":{"ready":false}}]})")},
                                    {}, "n1");
  EXPECT_TRUE(tables.services.services.empty());
  ASSERT_EQ(tables.dns.services.size(), 2U);
  ASSERT_EQ(tables.dns.services[0].ports.size(), 1U);
  ASSERT_EQ(tables.dns.services[0].ports[0].endpoints.size(), 1U);
  EXPECT_EQ(tables.dns.services[0].ports[0].endpoints[0].hostname, "db-0");
  EXPECT_EQ(tables.dns.services[1].external_name, "example.org");
}

TEST(StatusPatch, ClearsWhatIsGoneAndLeavesForeignConditions) {
  json::Value patch = make_status_patch("u1", tree(R"({"phase":"Running","podIP":"10.1.1.1","podIPs":[{"ip":"10.1.1.1"}]})"),
                                        tree(R"({"phase":"Failed","conditions":[{"type":"Ready","status":"False"},{"type":"example.com/gate","status":"True"}]})"));
  EXPECT_EQ(json::format(patch), R"({"status":{"phase":"Failed","conditions":[{"type":"Ready","status":"False","reason":null,"message":null}],"podIP":null,"podIPs":null},"metadata":{"uid":"u1"}})");
}

TEST(NodeStatus, PressureIsJudgedByTheFieldsThresholds) {
  NodePressure fine{.memory_available_bytes = 1LL << 30, .disk_free_bytes = 50, .disk_bytes = 100, .inodes_free = 50, .inodes = 100, .pids = 10, .pids_max = 1000};
  EXPECT_EQ(judge_pressure(fine), NodeConditions{});
  NodePressure low = fine;
  low.disk_free_bytes = 9;
  low.memory_available_bytes = 50LL << 20;
  low.pids = 950;
  NodeConditions bad = judge_pressure(low);
  EXPECT_TRUE(bad.disk_pressure && bad.memory_pressure && bad.pid_pressure);
}

}  // namespace
}  // namespace monopod::agent
