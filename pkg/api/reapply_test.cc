// Server-side apply that changes nothing, by the short way (registry/reapply.cc) and by the long one: the same answers, whatever happened before.
#include <random>

#include "api/testing.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

using async::Task;

constexpr std::string_view kPath = "/apis/apps/v1/namespaces/default/deployments/web";
const http::Headers kApply{{"content-type", "application/apply-patch+yaml"}};

std::string deployment(int replicas, std::string_view image, std::string_view label = {}) {
  std::string labels = label.empty() ? std::string("{}") : cat("{\"x\":\"", label, "\"}");
  return cat(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","labels":)", labels, R"(},"spec":{"replicas":)", replicas,
             R"(,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":")", image, R"("}]}}}})");
}

// The same configuration in bytes that no one has sent before.
struct Spelling {
  int spaces = 0;
  std::string fresh(const std::string& body) { return body + std::string(static_cast<std::size_t>(++spaces), ' '); }
};
// What the server takes where nothing is said: another request to what is remembered, so that it goes the long way.
constexpr std::string_view kLongWay = "&fieldValidation=Warn";

TEST(Reapply, AnswersAsTheLongWayDoesWhateverWasWrittenBefore) {
  with_cluster([](TestCluster& cluster) -> Task<Result<>> {
    Spelling spelling;
    std::mt19937 random(4);
    auto pick = [&random](int n) { return std::uniform_int_distribution<int>(0, n - 1)(random); };
    const std::string bodies[] = {deployment(1, "a:1"), deployment(2, "a:1"), deployment(1, "a:2"), deployment(1, "a:1", "y"), "{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\"}}"};
    CO_CALL(made, "PATCH", cat(kPath, "?fieldManager=m0"), bodies[0], kApply);
    CO_EXPECT_STATUS(made, 201);
    int unchanged = 0;
    for (int i = 0; i < 400; ++i) {
      std::string target = cat(kPath, "?fieldManager=m", pick(2), pick(2) == 0 ? "&force=true" : "", pick(8) == 0 ? "&dryRun=All" : "");
      const std::string& body = bodies[pick(5)];
      switch (pick(10)) {
        case 0: {
          CO_CALL(scaled, "PATCH", std::string(kPath), cat("{\"spec\":{\"replicas\":", pick(3), "}}"), {{"content-type", "application/merge-patch+json"}});
          CO_EXPECT_STATUS(scaled, 200);
          break;
        }
        case 1: {
          CO_CALL(labelled, "PATCH", "/api/v1/namespaces/default", pick(2) == 0 ? R"({"metadata":{"labels":{"pod-security.kubernetes.io/warn":"restricted"}}})" : R"({"metadata":{"labels":{"pod-security.kubernetes.io/warn":null}}})",
                  {{"content-type", "application/merge-patch+json"}});
          CO_EXPECT_STATUS(labelled, 200);
          break;
        }
        case 2:
          cluster.time.advance(std::chrono::seconds(1));
          break;
        default: break;
      }
      // Twice as it is, so that the second may go the short way, in other words, then the long way from the same state.
      CO_CALL(first, "PATCH", target, body, kApply);
      CO_CALL(second, "PATCH", target, body, kApply);
      CO_CALL(reworded, "PATCH", target, spelling.fresh(body), kApply);
      CO_CALL(again, "PATCH", cat(target, kLongWay), body, kApply);
      EXPECT_EQ(second.status, reworded.status) << i;
      EXPECT_EQ(second.body, reworded.body) << i;
      EXPECT_EQ(second.headers.find_all("warning"), reworded.headers.find_all("warning")) << i;
      EXPECT_EQ(second.status, again.status) << i;
      EXPECT_EQ(second.body, again.body) << i;
      EXPECT_EQ(second.headers.find_all("warning"), again.headers.find_all("warning")) << i;
      if (first.status < 300 && first.body == second.body) ++unchanged;
    }
    EXPECT_GT(unchanged, 100);
    co_return Result<>();
  });
}

// What is remembered is of one object, one manager, one subresource and one set of options.
TEST(Reapply, IsRememberedForOneManagerAndOneRevision) {
  with_cluster([](TestCluster& cluster) -> Task<Result<>> {
    const std::string body = deployment(1, "a:1");
    std::string target = cat(kPath, "?fieldManager=one");
    CO_CALL(made, "PATCH", target, body, kApply);
    CO_CALL(same, "PATCH", target, body, kApply);
    CO_CALL(short_way, "PATCH", target, body, kApply);
    EXPECT_EQ(same.body, short_way.body);
    // Another manager becomes an owner beside the first.
    CO_CALL(other, "PATCH", cat(kPath, "?fieldManager=two"), body, kApply);
    EXPECT_EQ(other.tree().at("metadata").at("managedFields").as_array().size(), 2U);
    // Another writer changes it: the apply has something to do again.
    CO_CALL(scaled, "PATCH", std::string(kPath), R"({"spec":{"replicas":5}})", {{"content-type", "application/merge-patch+json"}});
    CO_CALL(conflict, "PATCH", target, body, kApply);
    CO_EXPECT_STATUS(conflict, 409);
    CO_CALL(forced, "PATCH", target + "&force=true", body, kApply);
    EXPECT_EQ(json::get_int(forced.tree(), {"spec", "replicas"}), 1);
    // A deleted and remade object is another one.
    CO_CALL(gone, "DELETE", std::string(kPath));
    CO_CALL(remade, "PATCH", target, body, kApply);
    CO_EXPECT_STATUS(remade, 201);
    co_return Result<>();
  });
}

// Admission is asked before the short answer: the name of the object, who asks and the namespace's labels count as ever.
TEST(Reapply, LetsAdmissionWarn) {
  with_cluster([](TestCluster& cluster) -> Task<Result<>> {
    const std::string body = deployment(1, "a:1"), target = cat(kPath, "?fieldManager=one");
    for (int i = 0; i < 3; ++i) {
      CO_CALL(done, "PATCH", target, body, kApply);
      EXPECT_FALSE(done.headers.find("warning"));
    }
    CO_CALL(labelled, "PATCH", "/api/v1/namespaces/default", R"({"metadata":{"labels":{"pod-security.kubernetes.io/warn":"restricted"}}})", {{"content-type", "application/merge-patch+json"}});
    CO_EXPECT_STATUS(labelled, 200);
    for (int i = 0; i < 2; ++i) {
      CO_CALL(warned, "PATCH", target, body, kApply);
      EXPECT_TRUE(warned.headers.find("warning").value_or("").find("would violate PodSecurity") != std::string_view::npos);
    }
    co_return Result<>();
  });
}

}  // namespace
}  // namespace monopod::api
