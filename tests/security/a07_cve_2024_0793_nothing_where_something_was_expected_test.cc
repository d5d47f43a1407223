// A7: every kind, with null, an empty list, a number or text in the place of each of its members, as body, merge patch, strategic patch and apply
// (CVE-2024-0793: a patch on a nil path). No answer is a failure of the server.
#include <gtest/gtest.h>

#include <cstdlib>

#include "api/schema/sample.h"
#include "api/testing.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kInstead[] = {"null", "{}", "[]", "[null]", "[{}]", "0", "-1", "\"\"", "\"x\"", "true", R"({"":null})", R"([[]])"};

// Where an object of the resource is made, and what one is called.
std::string place(const Resource& r) {
  return cat(r.group().empty() ? "/api/" : cat("/apis/", r.group(), "/"), r.version(), r.namespaced ? "/namespaces/default/" : "/", r.plural());
}

// All of it with MONOPOD_LONG=1, else every step-th.
bool chosen(int& count, int step) { return std::getenv("MONOPOD_LONG") != nullptr || count++ % step == 0; }

void expect_no_failure(const Reply& reply, std::string_view what) {
  EXPECT_LT(reply.status, 500) << what << ": " << reply.body.substr(0, 500);
  EXPECT_GE(reply.status, 200) << what;
}

async::Task<Result<>> every_kind(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  int kinds = 0, requests = 0, count = 0;
  SeededRng rng(7);
  for (const Resource& r : resources()) {
    if (!r.has(kCreate)) continue;
    ++kinds;
    std::string at = place(r), head = cat(R"({"apiVersion":")", r.group_version(), R"(","kind":")", r.kind(), R"(",)");
    json::Value sample = make_sample(r.type(), rng);
    std::vector<std::string> members = {"metadata", "spec", "status", "data", "rules", "subjects", "roleRef", "webhooks", "subsets", "endpoints", "ports"};
    for (const auto& member : sample.get_object()) members.emplace_back(member.key());
    std::ranges::sort(members);
    members.erase(std::unique(members.begin(), members.end()), members.end());
    for (const std::string& member : members) {
      if (member == "apiVersion" || member == "kind") continue;
      for (std::string_view instead : kInstead) {
        if (!chosen(count, 4)) continue;
        std::string name = member == "metadata" ? "" : R"("metadata":{"name":"x"},)";
        std::string body = cat(head, name, '"', member, "\":", instead, '}');
        CO_CALL(made, "POST", at + "?dryRun=All", body);
        expect_no_failure(made, cat("POST ", at, ' ', body));
        ++requests;
      }
    }
  }
  EXPECT_GT(kinds, 60);
  EXPECT_GT(requests, 1'500);
  co_return Result<>();
}
TEST(A07Nothing, InAnyMemberOfAnyKindIsAnAnswer) { with_cluster(every_kind); }

async::Task<Result<>> patches(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  struct Live {
    std::string path, body;
  };
  int count = 0;
  const Live live[] = {
      {"/api/v1/namespaces/default/pods", R"({"metadata":{"name":"x","labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","env":[{"name":"e","value":"v"}],"ports":[{"containerPort":1}]}],"tolerations":[{"operator":"Exists"}]}})"},
      {"/apis/apps/v1/namespaces/default/deployments", R"({"metadata":{"name":"x"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"},
      {"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", R"({"metadata":{"name":"x"},"spec":{"maxReplicas":2,"scaleTargetRef":{"kind":"Deployment","name":"x","apiVersion":"apps/v1"},"behavior":{"scaleDown":{"policies":[{"type":"Pods","value":1,"periodSeconds":1}]}}}})"},
      {"/api/v1/namespaces/default/services", R"({"metadata":{"name":"x"},"spec":{"ports":[{"port":1}]}})"},
      {"/apis/rbac.authorization.k8s.io/v1/clusterroles", R"({"metadata":{"name":"x"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]})"},
      {"/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"x"},"data":{"k":"v"}})"},
  };
  for (const Live& one : live) {
    CO_CALL(made, "POST", one.path, one.body);
    CO_EXPECT_STATUS(made, 201);
    json::Value tree = made.tree();
    // Every path of the object, by its members and first elements.
    std::vector<std::string> paths = {""};
    struct Step {
      std::string path;
      json::Value value;
    };
    std::vector<Step> todo = {{"", tree}};
    while (!todo.empty()) {
      Step step = std::move(todo.back());
      todo.pop_back();
      if (const json::Object* object = step.value.if_object())
        for (const auto& [key, value] : *object) {
          if (key == "managedFields") continue;
          todo.push_back({cat(step.path, '/', std::string_view(key)), value});
        }
      else if (const json::Array* array = step.value.if_array(); array != nullptr && !array->empty()) todo.push_back({step.path + "/0", array->front()});
      paths.push_back(step.path);
    }
    for (const std::string& path : paths) {
      for (std::string_view instead : kInstead) {
        if (!chosen(count, 7)) continue;
        for (std::string_view op : {"replace", "add", "remove", "test"}) {
          std::string body = cat(R"([{"op":")", op, R"(","path":")", path, R"(","value":)", instead, "}]");
          CO_CALL(patched, "PATCH", one.path + "/x?dryRun=All", body, {{"content-type", "application/json-patch+json"}});
          expect_no_failure(patched, cat("PATCH ", one.path, ' ', body));
        }
        // The same place as a document around it.
        std::string document(instead);
        std::vector<std::string_view> parts = split(path, '/');
        for (std::size_t i = parts.size(); i-- > 1;) document = parts[i] == "0" ? cat('[', document, ']') : cat(R"({")", parts[i], "\":", document, '}');
        for (std::string_view type : {"application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"}) {
          CO_CALL(patched, "PATCH", one.path + "/x?dryRun=All&fieldManager=m&force=true", document, {{"content-type", type}});
          if (type == std::string_view("application/apply-patch+yaml") && patched.status == 415) continue;
          expect_no_failure(patched, cat(type, ' ', one.path, ' ', document));
        }
      }
    }
  }
  co_return Result<>();
}
TEST(A07Nothing, AtAnyPathOfAPatchIsAnAnswer) { with_cluster(patches); }

}  // namespace
}  // namespace monopod::api
