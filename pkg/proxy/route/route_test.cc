#include <gtest/gtest.h>

#include "proxy/io/address.h"
#include "proxy/limits.h"
#include "proxy/route/match.h"
#include "proxy/route/path.h"
#include "proxy/route/table.h"

namespace monopod::proxy {
namespace {

TEST(HardeningH3, OneReadingForEverybody) {
  struct Row {
    const char* from;
    const char* to;  // null: refused
  };
  const Row rows[] = {
      {"/", "/"}, {"/a/b", "/a/b"}, {"/a//b", "/a/b"}, {"/a/./b", "/a/b"}, {"/a/../b", "/b"}, {"/a/..", "/"}, {"/a/.", "/a/"}, {"/a/b/..", "/a/"}, {"//a", "/a"},
      {"/%41", "/A"}, {"/%2e%2e/a", nullptr}, {"/a/%2E%2e/b", "/b"}, {"/a%20b", "/a%20b"}, {"/a%3fb", "/a%3Fb"}, {"/%e4", "/%E4"}, {"/..", nullptr}, {"/a/../..", nullptr},
      {"/a%2Fb", nullptr}, {"/a%5Cb", nullptr}, {"/a\\b", nullptr}, {"/a%00", nullptr}, {"/%", nullptr}, {"/%1", nullptr}, {"/%gg", nullptr}, {"/a/..;x/b", nullptr}, {"/a/.;x/b", nullptr},
      {"/a;x=1/b", "/a;x=1/b"}, {"/a/...", "/a/..."}, {"/.a", "/.a"}, {"/a/.b/c", "/a/.b/c"}, {"/a/../b?x=/../y", "/b?x=/../y"}, {"/a?b//c%2f", "/a?b//c%2f"}, {"/%2525", "/%2525"},
  };
  for (const Row& row : rows) {
    std::string out;
    PathVerdict verdict = normalize_path(row.from, true, out);
    if (row.to == nullptr) EXPECT_EQ(verdict, PathVerdict::kRefused) << row.from << " " << out;
    else EXPECT_EQ(verdict == PathVerdict::kAsIs ? std::string(row.from) : verdict == PathVerdict::kRewritten ? out : "refused", row.to) << row.from;
  }
  std::string out;
  EXPECT_EQ(normalize_path("/a//b", false, out), PathVerdict::kAsIs);
}

TEST(HardeningH3, WhatItMakesItLeavesAlone) {
  for (std::string_view from : {"/a/./b//c/%41", "/x/../y/%7e?q", "/a/..", "/%e4%20"}) {
    std::string once, twice;
    ASSERT_EQ(normalize_path(from, true, once), PathVerdict::kRewritten) << from;
    EXPECT_EQ(normalize_path(once, true, twice), PathVerdict::kAsIs) << once;
  }
}

TEST(PathMatcher, KindsMatchWhatTheySay) {
  using Kind = PathMatch::Kind;
  struct Row {
    Kind kind;
    const char* text;
    const char* path;
    bool matches;
  };
  const Row rows[] = {
      {Kind::kPrefix, "/", "/x", true}, {Kind::kPrefix, "/api", "/api", true}, {Kind::kPrefix, "/api", "/api/x", true}, {Kind::kPrefix, "/api", "/apis", false}, {Kind::kPrefix, "/api/", "/api/x", true},
      {Kind::kPrefix, "/api/", "/api", false}, {Kind::kExact, "/a.b", "/a.b", true}, {Kind::kExact, "/a.b", "/aXb", false}, {Kind::kRegex, "/a.b", "/aXb", true}, {Kind::kRegex, "/a", "/ab", false},
      {Kind::kRegex, "/a|/b", "/b", true}, {Kind::kTemplate, "/u/{id}", "/u/5", true}, {Kind::kTemplate, "/u/{id}", "/u/", false}, {Kind::kTemplate, "/u/{id}", "/u/5/6", false},
      {Kind::kTemplate, "/u/{id}/p/**", "/u/5/p/6/7", true}, {Kind::kTemplate, "/u/*/p", "/u/5/p", true},
  };
  for (const Row& row : rows) {
    auto matcher = PathMatcher::compile({.kind = row.kind, .text = row.text});
    ASSERT_TRUE(matcher) << row.text;
    MatchBudget budget{kPatternStepsMax};
    EXPECT_EQ(matcher->matches(row.path, budget), row.matches) << row.text << " " << row.path;
  }
  EXPECT_FALSE(PathMatcher::compile({.kind = Kind::kTemplate, .text = "/a/**/b"}));
  EXPECT_FALSE(PathMatcher::compile({.kind = Kind::kTemplate, .text = "/a{b}"}));
  EXPECT_FALSE(PathMatcher::compile({.kind = Kind::kRegex, .text = "("}));
  EXPECT_FALSE(PathMatcher::compile({.kind = Kind::kExact, .text = "a"}));
}

TEST(RouteTable, TheNearestNameWins) {
  std::vector<VirtualHostSpec> hosts;
  for (const char* domain : {"a.test", "*.a.test", "*.test", "*"}) hosts.push_back({.name = domain, .domains = {domain}, .routes = {{.direct_response = DirectResponseSpec{}}}});
  std::optional<ConfigError> error;
  auto table = RouteTable::compile(hosts, "", {}, error);
  ASSERT_FALSE(error);
  Head head;
  head.method = "GET";
  MatchBudget budget{kPatternStepsMax};
  auto name = [&](std::string_view host) { return table->find(host, {.head = head, .path = "/", .query = ""}, budget)->name; };
  EXPECT_EQ(name("a.test"), "a.test/0");
  EXPECT_EQ(name("A.TEST:8080"), "a.test/0");
  EXPECT_EQ(name("a.test."), "a.test/0");
  EXPECT_EQ(name("b.a.test"), "*.a.test/0");
  EXPECT_EQ(name("c.b.a.test"), "*.a.test/0");
  EXPECT_EQ(name("x.test"), "*.test/0");
  EXPECT_EQ(name("test"), "*/0");
  EXPECT_EQ(name("[::1]:80"), "*/0");
}

TEST(Cidr, ContainsWhatItSays) {
  auto contains = [](const char* cidr, const char* address) {
    unsigned char ip[16];
    Address::parse(address)->copy_ip(ip);
    return Cidr::parse(cidr)->contains(ip);
  };
  EXPECT_TRUE(contains("10.0.0.0/8", "10.255.0.1:1"));
  EXPECT_FALSE(contains("10.0.0.0/8", "11.0.0.1:1"));
  EXPECT_TRUE(contains("10.1.2.3", "10.1.2.3:1"));
  EXPECT_FALSE(contains("10.1.2.3", "10.1.2.4:1"));
  EXPECT_TRUE(contains("0.0.0.0/0", "1.2.3.4:1"));
  EXPECT_FALSE(contains("0.0.0.0/0", "[2001:db8::1]:1"));
  EXPECT_TRUE(contains("2001:db8::/33", "[2001:db8:7fff::1]:1"));
  EXPECT_FALSE(contains("2001:db8::/33", "[2001:db8:8000::1]:1"));
  for (const char* bad : {"10.0.0.0/33", "10.0.0/8", "x", "10.0.0.0/", "::/129"}) EXPECT_FALSE(Cidr::parse(bad)) << bad;
}

}  // namespace
}  // namespace monopod::proxy
