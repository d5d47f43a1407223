// A5: JSON patches with more operations than anybody needs (CVE-2019-1002100), patches that double the document again and again, patches of what
// is not the client's to change.
#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

const std::string kMaps = "/api/v1/namespaces/default/configmaps";
const http::Headers kPatch{{"content-type", "application/json-patch+json"}}, kMerge{{"content-type", "application/merge-patch+json"}}, kStrategic{{"content-type", "application/strategic-merge-patch+json"}};

std::string repeated(std::string_view op, int count) {
  std::string out = "[";
  for (int i = 0; i < count; ++i) out += cat(i == 0 ? "" : ",", op);
  return out + "]";
}

async::Task<Result<>> operations(TestCluster& cluster) {
  CO_CALL(made, "POST", kMaps, R"({"metadata":{"name":"x"},"data":{"a":"1"}})");
  CO_EXPECT_STATUS(made, 201);
  constexpr std::string_view kTest = R"({"op":"test","path":"/data/a","value":"1"})";
  CO_CALL(most, "PATCH", kMaps + "/x", repeated(kTest, 10'000), kPatch);
  CO_EXPECT_STATUS(most, 200);
  CO_CALL(past, "PATCH", kMaps + "/x", repeated(kTest, 10'001), kPatch);
  CO_EXPECT_STATUS(past, 413);
  EXPECT_NE(past.text({"message"}).find("maximum operations in a JSON patch is 10000, got 10001"), std::string::npos) << past.body;
  co_return Result<>();
}
TEST(A05Patches, HaveABoundedNumberOfOperations) { with_cluster(operations); }

async::Task<Result<>> growth(TestCluster& cluster) {
  CO_CALL(made, "POST", kMaps, cat(R"({"metadata":{"name":"x"},"data":{"a":")", std::string(10'000, 'x'), R"("}})"));
  CO_EXPECT_STATUS(made, 201);
  // Each copies everything there is into itself: 2^40 times as much in the end.
  auto begin = std::chrono::steady_clock::now();
  std::string doubling = "[";
  for (int i = 0; i < 40; ++i) doubling += cat(i == 0 ? "" : ",", R"({"op":"copy","from":"/data","path":"/data/k)", i, "\"}");
  CO_CALL(doubled, "PATCH", kMaps + "/x", doubling + "]", kPatch);
  EXPECT_TRUE(doubled.status == 413 || doubled.status == 422) << doubled.status << doubled.body.substr(0, 300);
  // 9,999 copies of a long string.
  std::string many = "[";
  for (int i = 0; i < 9'999; ++i) many += cat(i == 0 ? "" : ",", R"({"op":"copy","from":"/data/a","path":"/data/k)", i, "\"}");
  CO_CALL(copied, "PATCH", kMaps + "/x", many + "]", kPatch);
  EXPECT_TRUE(copied.status == 413 || copied.status == 422) << copied.status << copied.body.substr(0, 300);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  CO_CALL(after, "GET", kMaps + "/x");
  EXPECT_LT(after.body.size(), 20'000U);
  co_return Result<>();
}
TEST(A05Patches, DoNotMultiplyTheDocument) { with_cluster(growth); }

async::Task<Result<>> not_theirs(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  const std::string pod = "/api/v1/namespaces/default/pods/p";
  CO_CALL(made, "POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"p","labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  CO_EXPECT_STATUS(made, 201);
  std::string uid = made.text({"metadata", "uid"}), born = made.text({"metadata", "creationTimestamp"});
  struct Case {
    std::string body;
    http::Headers type;
  } cases[] = {
      {R"({"status":{"phase":"Succeeded"},"metadata":{"creationTimestamp":"2001-01-01T00:00:00Z","generation":77,"selfLink":"/x","deletionTimestamp":"2001-01-01T00:00:00Z"}})", kMerge},
      {R"({"status":{"phase":"Succeeded"},"metadata":{"creationTimestamp":"2001-01-01T00:00:00Z","generation":77,"deletionGracePeriodSeconds":0}})", kStrategic},
      {R"([{"op":"add","path":"/status/phase","value":"Succeeded"},{"op":"replace","path":"/metadata/creationTimestamp","value":"2001-01-01T00:00:00Z"},{"op":"add","path":"/metadata/deletionTimestamp","value":"2001-01-01T00:00:00Z"}])", kPatch},
  };
  for (const Case& c : cases) {
    CO_CALL(patched, "PATCH", pod, c.body, c.type);
    EXPECT_TRUE(patched.status == 200 || patched.status == 422) << patched.body;
    CO_CALL(now, "GET", pod);
    EXPECT_EQ(now.text({"status", "phase"}), "Pending") << c.body;
    EXPECT_EQ(now.text({"metadata", "creationTimestamp"}), born) << c.body;
    EXPECT_EQ(json::find(now.tree(), {"metadata", "deletionTimestamp"}), nullptr) << c.body;
    EXPECT_NE(json::get_int(now.tree(), {"metadata", "generation"}), 77);
  }
  for (std::string body : {R"({"metadata":{"uid":"11111111-1111-1111-1111-111111111111"}})", R"({"metadata":{"name":"q"}})", R"({"metadata":{"namespace":"kube-system"}})", R"({"metadata":{"resourceVersion":"1"}})", R"({"kind":"Secret"})", R"({"apiVersion":"v2"})"}) {
    CO_CALL(patched, "PATCH", pod, body, kMerge);
    EXPECT_TRUE(patched.status == 400 || patched.status == 409 || patched.status == 422) << body << patched.status << patched.body;
  }
  // A strategic patch's word on the kind does not count, nor does the lack of one.
  for (std::string body : {R"({"kind":"Secret","apiVersion":"v2"})", R"({"kind":null,"apiVersion":null})"}) {
    CO_CALL(patched, "PATCH", pod, body, kStrategic);
    EXPECT_EQ(patched.text({"kind"}), "Pod") << patched.body;
    EXPECT_EQ(patched.text({"apiVersion"}), "v1") << patched.body;
  }
  CO_CALL(nameless, "PATCH", pod, R"({"kind":null,"apiVersion":null})", kMerge);
  EXPECT_EQ(nameless.text({"kind"}), "Pod") << nameless.body;
  // Through the door of the status, the rest stays as it is.
  CO_CALL(status, "PATCH", pod + "/status", R"({"metadata":{"finalizers":["x.io/y"]},"spec":{"activeDeadlineSeconds":5},"status":{"phase":"Running"}})", kMerge);
  CO_EXPECT_STATUS(status, 200);
  EXPECT_EQ(status.text({"status", "phase"}), "Running");
  EXPECT_EQ(json::find(status.tree(), {"spec", "activeDeadlineSeconds"}), nullptr);
  EXPECT_EQ(status.text({"metadata", "uid"}), uid);
  co_return Result<>();
}
TEST(A05Patches, ChangeNothingThatIsTheServersOwn) { with_cluster(not_theirs); }

}  // namespace
}  // namespace monopod::api
