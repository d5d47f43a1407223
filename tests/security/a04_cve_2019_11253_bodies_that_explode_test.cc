// A4: YAML aliases that multiply (CVE-2019-11253), flow sequences that parsers are quadratic in (CVE-2019-11254), deep nesting, bodies at the limit
// and past it, numbers without end, keys that come twice.
#include <gtest/gtest.h>

#include "api/limits.h"
#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const http::Headers kYaml{{"content-type", "application/yaml"}}, kJson{{"content-type", "application/json"}};
constexpr auto kSeconds = std::chrono::seconds(3);  // of real time, on a slow machine; the quadratic ones take minutes

struct Hostile {
  std::string name, body;
  bool yaml = true;
};

std::vector<Hostile> hostile() {
  std::string laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'i'; ++c) {
    std::string before(1, static_cast<char>(c - 1));
    laughs += cat(c, ": &", c, " [*", before);
    for (int i = 0; i < 8; ++i) laughs += cat(",*", before);
    laughs += "]\n";
  }
  std::string merges = "m0: &m0 {k: v}\n";
  for (int i = 1; i < 40; ++i) merges += cat("m", i, ": &m", i, " {<<: [*m", i - 1, ", *m", i - 1, "]}\n");
  std::string keys = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {";
  for (int i = 0; i < 100'000; ++i) keys += cat("? [", i, "\n");
  return {
      {"a billion laughs", laughs},
      {"laughs by merging", merges},
      {"an anchor within itself", "a: &a [*a]\n"},
      {"100,000 open sequences", std::string(100'000, '[')},
      {"100,000 open maps", [] { std::string s; for (int i = 0; i < 100'000; ++i) s += "{a: "; return s; }()},
      {"100,000 block levels", [] { std::string s; for (int i = 0; i < 2'000; ++i) s += std::string(static_cast<std::size_t>(i), ' ') + "a:\n"; return s; }()},
      {"explicit keys that are open", keys},
      {"a megabyte of dashes", [] { std::string s; for (int i = 0; i < 500'000; ++i) s += "- "; return s; }()},
      {"a megabyte of commas", "[" + std::string(1'000'000, ',') + "]"},
      {"100,000 open arrays", std::string(100'000, '['), false},
      {"100,000 objects in objects", [] { std::string s; for (int i = 0; i < 100'000; ++i) s += R"({"a":)"; return s; }(), false},
      {"a number of a megabyte", cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","generation":)", std::string(1'000'000, '9'), "}}"), false},
      {"an exponent without end", cat(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","generation":1e)", std::string(1'000, '9'), "}}"), false},
      {"a string that never ends", cat(R"({"a":")", std::string(1'000'000, 'x')), false},
      {"a megabyte of backslashes", cat(R"({"a":")", std::string(1'000'001, '\\'), "\"}"), false},
  };
}

async::Task<Result<>> refused(TestCluster& cluster) {
  for (const Hostile& one : hostile()) {
    for (std::string method : {"POST", "PATCH"}) {
      http::Headers headers = one.yaml ? kYaml : kJson;
      if (method == "PATCH") headers.set("content-type", one.yaml ? "application/apply-patch+yaml" : "application/merge-patch+json");
      auto begin = std::chrono::steady_clock::now();
      CO_CALL(reply, method, method == "POST" ? kMaps : kMaps + "/x?fieldManager=m", one.body, headers);
      auto took = std::chrono::steady_clock::now() - begin;
      EXPECT_TRUE(reply.status == 400 || reply.status == 404 || reply.status == 422) << one.name << ' ' << method << ": " << reply.status << ' ' << reply.body.substr(0, 300);
      EXPECT_LT(reply.body.size(), 10'000U) << one.name << ": an error does not repeat what was sent";
      EXPECT_LT(took, kSeconds) << one.name;
    }
  }
  CO_CALL(none, "GET", kMaps);
  EXPECT_EQ(json::get_array(none.tree(), {"items"})->size(), 0U);
  co_return Result<>();
}
TEST(A04Bodies, ThatExplodeAreRefusedInLinearTime) { with_cluster(refused); }

async::Task<Result<>> limits(TestCluster& cluster) {
  auto of_size = [](std::size_t size) {
    std::string head = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"k":")", tail = R"("}})";
    return head + std::string(size - head.size() - tail.size(), 'x') + tail;
  };
  CO_CALL(past, "POST", kMaps, of_size(kBodyBytesMax + 1));
  CO_EXPECT_STATUS(past, 413);
  EXPECT_EQ(past.text({"message"}), "Request entity too large: limit is 3145728");
  CO_CALL(at, "POST", kMaps, of_size(kBodyBytesMax));
  EXPECT_NE(at.status, 413) << "it was read; the kind has its own bound";
  EXPECT_EQ(at.status, 422) << at.body.substr(0, 300);
  CO_CALL(small, "POST", kMaps, of_size(1U << 20));
  CO_EXPECT_STATUS(small, 201);
  // Keys that come twice: strict says which, else the last one counts.
  std::string twice = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"t"},"data":{"k":"a","k":"b"}})";
  CO_CALL(strict, "POST", kMaps + "?fieldValidation=Strict", twice);
  CO_EXPECT_STATUS(strict, 400);
  EXPECT_NE(strict.text({"message"}).find("duplicate field \"data.k\""), std::string::npos) << strict.body;
  CO_CALL(loose, "POST", kMaps + "?fieldValidation=Ignore", twice);
  CO_EXPECT_STATUS(loose, 201);
  EXPECT_EQ(loose.text({"data", "k"}), "b");
  co_return Result<>();
}
TEST(A04Bodies, HoldTheirLimitAtAndPast) { with_cluster(limits); }

}  // namespace
}  // namespace monopod::api
