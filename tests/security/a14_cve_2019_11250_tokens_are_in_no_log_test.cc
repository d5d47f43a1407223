// A14: what clients send as credentials or secrets is in no log line of ours and no answer, however the request fails (CVE-2019-11250). Every
// log sink of the process is one descriptor: it is looked at whole.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "base/log.h"

namespace monopod::api {
namespace {

constexpr std::string_view kSecrets[] = {"tok3n-in-header", "tok3n-in-query", "tok3n-in-body", "s3cret-in-object", "s3cret-in-patch", "tok3n-as-protocol", "s3cret-in-bad-json", "s3cret-in-csr", "s3cret-in-env"};

async::Task<Result<>> requests(TestCluster& cluster, std::string& answers) {
  struct Sent {
    std::string method, target, body;
    http::Headers headers{};
  };
  std::string protocol = format_base64url("tok3n-as-protocol");
  std::vector<Sent> all = {
      {"GET", "/api/v1/secrets", "", {{"authorization", "Bearer tok3n-in-header"}}},
      {"GET", "/api/v1/secrets", "", {{"authorization", "Basic tok3n-in-header"}}},
      {"GET", "/version", "", {{"authorization", "Bearer tok3n-in-header"}, {"impersonate-user", "x"}}},
      {"GET", "/api/v1/secrets?token=tok3n-in-query&access_token=tok3n-in-query", "", {{"authorization", ""}}},
      {"GET", "/api/v1/namespaces/default/pods/p/exec", "", {{"authorization", ""}, {"sec-websocket-protocol", cat("base64url.bearer.authorization.k8s.io.", protocol)}}},
      {"POST", "/apis/authentication.k8s.io/v1/tokenreviews", R"({"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"tok3n-in-body","audiences":"not a list"}})"},
      {"POST", "/api/v1/namespaces/default/secrets", R"({"metadata":{"name":"BAD"},"stringData":{"k":"s3cret-in-object"}})"},
      {"POST", "/api/v1/namespaces/default/secrets", R"({"metadata":{"name":"a"},"data":{"k":"s3cret-in-object"}})"},
      {"POST", "/api/v1/namespaces/none/secrets", R"({"metadata":{"name":"a"},"stringData":{"k":"s3cret-in-object"}})"},
      {"POST", "/api/v1/namespaces/default/secrets", R"({"metadata":{"name":"a"},"stringData":{"k":"s3cret-in-bad-json")"},
      {"POST", "/api/v1/namespaces/default/secrets", "stringData: {k: s3cret-in-bad-json", {{"content-type", "application/yaml"}}},
      {"POST", "/api/v1/namespaces/default/secrets", "k8s\x01s3cret-in-bad-json", {{"content-type", "application/vnd.kubernetes.protobuf"}}},
      {"PATCH", "/api/v1/namespaces/default/secrets/none", R"([{"op":"add","path":"/data/x","value":"s3cret-in-patch"}])", {{"content-type", "application/json-patch+json"}}},
      {"PATCH", "/api/v1/namespaces/default/secrets/none", R"({"data":{"k":"s3cret-in-patch"}})", {{"content-type", "application/merge-patch+json"}}},
      {"PATCH", "/api/v1/namespaces/default/secrets/s?fieldManager=m", R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"k":"s3cret-in-patch"}})", {{"content-type", "application/apply-patch+yaml"}}},
      {"POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"C!","image":"i","env":[{"name":"e","value":"s3cret-in-env"}]}]}})"},
      {"POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", R"({"metadata":{"name":"c"},"spec":{"request":"czNjcmV0LWluLWNzcg==","signerName":"a/b","usages":["client auth"],"username":"s3cret-in-csr"}})"},
  };
  for (Sent& one : all) {
    CO_CALL(reply, one.method, one.target, one.body, one.headers);
    EXPECT_GE(reply.status, 400) << one.method << ' ' << one.target << ' ' << one.body << ": meant to fail " << reply.body;
    answers += reply.body;
    for (const auto& field : reply.headers) answers += cat(field.name, field.value);
  }
  CO_CALL(metrics, "GET", "/metrics");
  answers += metrics.body;
  co_return Result<>();
}

TEST(A14Logs, HoldNoCredentials) {
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  log::configure({.level = log::Level::kDebug, .fd = ::fileno(file)});
  std::string answers;
  auto body = [&answers](TestCluster& cluster) { return requests(cluster, answers); };
  with_cluster(body);
  log::warn("a line that proves the sink", {{"value", "seen"}});
  log::configure({});
  std::string text(static_cast<std::size_t>(::lseek(::fileno(file), 0, SEEK_END)), '\0');
  ASSERT_EQ(::pread(::fileno(file), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  std::fclose(file);
  EXPECT_NE(text.find("a line that proves the sink"), std::string::npos);
  for (std::string_view secret : kSecrets) {
    EXPECT_EQ(text.find(secret), std::string::npos) << "logged: " << secret;
    // Errors may name a value that its sender got wrong, never one of a Secret or a credential.
    if (secret != "s3cret-in-env") EXPECT_EQ(answers.find(secret), std::string::npos) << "answered: " << secret << "\n" << answers.substr(answers.find(secret) > 300 ? answers.find(secret) - 300 : 0, 600);
  }
}

}  // namespace
}  // namespace monopod::api
