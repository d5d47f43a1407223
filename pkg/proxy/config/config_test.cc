#include <gtest/gtest.h>

#include "base/strings.h"
#include "proxy/config/parse.h"
#include "proxy/config/snapshot.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kGood = R"(listeners:
- name: web
  address: 127.0.0.1:0
  virtual_hosts:
  - domains: [a.test]
    routes:
    - prefix: /
      cluster: one
clusters:
- name: one
  endpoints: ["127.0.0.1:80"]
)";

std::string check(std::string_view yaml) {
  auto parsed = parse_config(yaml, [](const std::string& path) -> Result<std::string> { return fail(Code::kNotFound, cat("read ", path, ": no such file")); });
  if (!parsed) return parsed.error().message();
  ConfigError error;
  return compile(parsed->spec, nullptr, error) ? "" : locate(yaml, error.path, error.why);
}

TEST(Config, TheGoodOneIsTaken) { EXPECT_EQ(check(kGood), ""); }

TEST(Config, TheExampleHasFieldsThatThereAre) {
  std::string yaml(65536, '\0');
  std::FILE* file = std::fopen(MONOPOD_PROXY_EXAMPLE, "re");
  ASSERT_NE(file, nullptr);
  yaml.resize(std::fread(yaml.data(), 1, yaml.size(), file));
  std::fclose(file);
  auto parsed = parse_config(yaml, [](const std::string&) -> Result<std::string> { return "x"; });
  EXPECT_TRUE(parsed) << parsed.error().message();
}

TEST(Config, EachFaultIsNamedWithItsLineAndField) {
  struct Row {
    const char* from;
    const char* to;
    const char* error;
  };
  const Row rows[] = {
      {"cluster: one", "cluster: two", "line 8: listeners[0].virtual_hosts[0].routes[0].cluster: there is no cluster \"two\""},
      {"127.0.0.1:0", "localhost:0", "line 3: listeners[0].address: \"localhost:0\" is no ADDRESS:PORT (numeric: 10.0.0.1:80 or [::1]:80; names are not looked up)"},
      {"\"127.0.0.1:80\"", "\"127.0.0.1\"", "line 11: clusters[0].endpoints[0]: \"127.0.0.1\" is no ADDRESS:PORT (10.0.0.1:80, [::1]:80) and no NAME:PORT"},
      {"\"127.0.0.1:80\"", "\"10.0.0.256:80\"", "line 11: clusters[0].endpoints[0]: \"10.0.0.256:80\" is no ADDRESS:PORT (10.0.0.1:80, [::1]:80) and no NAME:PORT"},
      {"\"127.0.0.1:80\"", "\"api.test:80\"", "line 11: clusters[0].endpoints: there are names, and no DNS server: set dns.servers"},
      {"name: one\n", "name: one\n  balancer: fair\n", "line 11: clusters[0].balancer: \"fair\" is not one of round_robin, least_request, ewma, random, ring_hash, maglev"},
      {"name: one\n", "name: one\n  ballancer: random\n", "line 11: clusters[0].ballancer: unknown field"},
      {"prefix: /\n", "regex: \"(\"\n", "line 7: listeners[0].virtual_hosts[0].routes[0].regex: error parsing regexp: missing closing ): `\\A(?:()\\z`"},
      {"prefix: /\n", "prefix: x\n", "line 7: listeners[0].virtual_hosts[0].routes[0].prefix: a path begins with a slash"},
      {"[a.test]", "[a.test, a.test]", "line 5: listeners[0].virtual_hosts[0].domains[1]: \"a.test\" stands in two virtual hosts"},
      {"name: web\n", "name: web\n  tls: {certificates: [{certificate_file: x, key_file: y}]}\n", "line 3: listeners[0].tls.certificates[0].certificate_file: read x: no such file"},
      {"name: web\n", "name: web\n  protocol: tcp\n", "line 2: listeners[0]: want cluster or sni"},
      {"[\"127.0.0.1:80\"]", "5", "line 11: clusters[0].endpoints: endpoints is missing or no list"},
      {"  address: 127.0.0.1:0\n", "", "line 2: listeners[0]: address is missing"},
      {"cluster: one", "cluster: one\n      timeout: 3", "line 9: listeners[0].virtual_hosts[0].routes[0].timeout: want a duration such as 250ms, 15s or 1h, of 30 days at most"},
      {"cluster: one", "cluster: one\n      request_headers: {set: {host: x}}", "line 9: listeners[0].virtual_hosts[0].routes[0].request_headers.set: \"host\" is the proxy's own: use host_rewrite"},
      {"cluster: one", "clusters: [{name: one, weight: 0}]", "line 8: listeners[0].virtual_hosts[0].routes[0].clusters: the weights' sum is 0"},
      {"name: web\n", "name: web\n  filters: [{kind: jwt, providers: [{name: a}]}]\n", "line 3: listeners[0].filters[0].providers[0]: want one of jwks_file, and jwks_cluster with jwks_path"},
      {"name: web\n", "name: web\n  filters: [{kind: jwt, providers: [{name: a, jwks_cluster: two, jwks_path: /x}]}]\n", "line 3: listeners[0].filters[0]: provider a: there is no cluster \"two\""},
      {"name: web\n", "name: web\n  filters: [{kind: ext_authz, cluster: two}]\n", "line 3: listeners[0].filters[0]: there is no cluster \"two\""},
      {"name: web\n", "name: web\n  filters: [{kind: rate_limit, name: x}]\n", "line 3: listeners[0].filters[0]: tokens is missing"},
      {"cluster: one", "cluster: one\n      mirror: {cluster: two}", "line 9: listeners[0].virtual_hosts[0].routes[0].mirror.cluster: there is no cluster \"two\""},
      {"cluster: one", "cluster: one\n      hedge: {max: 2}", "line 9: listeners[0].virtual_hosts[0].routes[0].hedge: want a delay, or the route's retry.per_try_timeout"},
      {"cluster: one", "cluster: one\n      hedge: {delay: 1s, max: 4}", "line 9: listeners[0].virtual_hosts[0].routes[0].hedge.max: want a number from 1 to 3"},
      {"name: one\n", "name: one\n  retry_budget: {window: 1ms}\n", "line 11: clusters[0].retry_budget.window: want 100ms at least"},
      {"name: one\n", "name: one\n  outlier: {success_rate: {percent: 1}}\n", "line 11: clusters[0].outlier.success_rate.percent: unknown field"},
      {"name: web\n", "name: web\n  transparent: true\n", "line 3: listeners[0].transparent: wants intercepts: true"},
      {"listeners:\n", "interceptions: [{netns: x, mode: nat, inbound_port: 1}]\nlisteners:\n", "line 1: interceptions[0].mode: \"nat\" is not one of redirect, tproxy"},
      {"listeners:\n- name: web\n  address: 127.0.0.1:0\n", "interceptions: [{netns: /proc/self/ns/net, outbound_mode: tproxy, outbound_port: 7}]\nlisteners:\n- name: web\n  address: 127.0.0.1:7\n  netns: /proc/self/ns/net\n  intercepts: true\n",
       "line 1: interceptions[0].outbound_mode: listener \"web\" at port 7 wants transparent: true"},
      {"listeners:\n- name: web\n  address: 127.0.0.1:0\n", "interceptions: [{netns: /proc/self/ns/net, outbound_port: 7}]\nlisteners:\n- name: web\n  address: 127.0.0.1:7\n  netns: /proc/self/ns/net\n  intercepts: true\n  transparent: true\n",
       "line 1: interceptions[0].outbound_mode: listener \"web\" at port 7 has transparent: true, which wants outbound_mode: tproxy"},
      {"name: one\n", "name: one\n  original_source: true\n  http2: true\n", "line 11: clusters[0].original_source: is of one client: it does not go with http2, whose connections are shared"},
      {"clusters:\n", "tracing: {cluster: two}\nclusters:\n", "line 9: tracing.cluster: there is no cluster \"two\""},
      {"name: web\n", "name: web\n  access_log: {path: /dev/null, format: \"%WHAT%\"}\n", "line 3: listeners[0].access_log.format: unknown operator %WHAT%"},
  };
  for (const Row& row : rows) {
    std::string yaml(kGood);
    ASSERT_NE(yaml.find(row.from), std::string::npos) << row.from;
    yaml.replace(yaml.find(row.from), std::string_view(row.from).size(), row.to);
    EXPECT_EQ(check(yaml), row.error) << yaml;
  }
  EXPECT_EQ(check("a: [").substr(0, 5), "yaml:");
}

TEST(Config, AFilterThatThereIsNotIsNamedWithThoseThatThereAre) {
  std::string yaml(kGood);
  yaml.replace(yaml.find("name: web\n"), 10, "name: web\n  filters: [{kind: magic}]\n");
  std::string error = check(yaml);
  EXPECT_TRUE(error.starts_with("line 3: listeners[0].filters[0]: no filter of kind \"magic\"; there are ")) << error;
  for (const char* kind : {"cors", "ext_authz", "rbac"}) EXPECT_NE(error.find(kind), std::string::npos) << error;
}

TEST(Config, WhatDidNotChangeIsTakenOver) {
  auto read = [](const std::string&) -> Result<std::string> { return fail(Code::kNotFound, ""); };
  auto one = parse_config(kGood, read);
  ConfigError error;
  auto first = compile(one->spec, nullptr, error);
  one->spec.listeners[0].virtual_hosts[0].routes[0].prefix_rewrite = "/x";
  auto second = compile(one->spec, first.get(), error);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->clusters[0], second->clusters[0]);
  EXPECT_EQ(second->version, 2U);
}

}  // namespace
}  // namespace monopod::proxy
