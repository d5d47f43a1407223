#include <gtest/gtest.h>

#include "api/testing.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kPods = "/api/v1/namespaces/default/pods";

std::string pod(std::string_view name, std::string_view spec) {
  return cat(R"({"metadata":{"name":")", name, R"("},"spec":{"containers":[{"name":"c","image":"i"}],)", spec, "}}");
}

async::Task<Result<>> storage(TestCluster& cluster) {
  const std::string claims = "/api/v1/namespaces/default/persistentvolumeclaims", classes = "/apis/storage.k8s.io/v1/storageclasses";
  constexpr std::string_view kSpec = R"("accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}})";
  auto claim = [&](std::string_view name, std::string_view more) { return cat(R"({"metadata":{"name":")", name, R"("},"spec":{)", kSpec, more, "}}"); };
  CO_CALL(none, "POST", claims, claim("none", ""));
  CO_EXPECT_STATUS(none, 201);
  EXPECT_EQ(none.text({"spec", "storageClassName"}), "") << "no class is the default";
  CO_CALL(plain, "POST", classes, R"({"metadata":{"name":"a"},"provisioner":"p"})");
  CO_CALL(beta, "POST", classes, R"({"metadata":{"name":"b","annotations":{"storageclass.beta.kubernetes.io/is-default-class":"true"}},"provisioner":"p"})");
  CO_CALL(same_age, "POST", classes, R"({"metadata":{"name":"c","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"p"})");
  CO_CALL(first, "POST", claims, claim("first", ""));
  EXPECT_EQ(first.text({"spec", "storageClassName"}), "b") << "two of one age: the first by name";
  CO_CALL(given, "POST", claims, claim("given", R"(,"storageClassName":"a")"));
  EXPECT_EQ(given.text({"spec", "storageClassName"}), "a");
  CO_CALL(empty, "POST", claims, claim("empty", R"(,"storageClassName":"")"));
  EXPECT_EQ(empty.text({"spec", "storageClassName"}), "") << "asks for no class";
  cluster.time.advance(std::chrono::seconds(2));
  CO_CALL(young, "POST", classes, R"({"metadata":{"name":"z","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"p"})");
  CO_CALL(youngest, "POST", claims, claim("youngest", ""));
  EXPECT_EQ(youngest.text({"spec", "storageClassName"}), "z") << "the youngest";
  co_return Result<>();
}
TEST(DefaultStorageClass, NamesTheYoungestDefault) { with_cluster(storage); }

const std::string kClasses = "/apis/storage.k8s.io/v1/storageclasses";

async::Task<Result<>> first_class(TestCluster& cluster) {
  CO_CALL(none, "GET", kClasses + "/local-path");
  CO_EXPECT_STATUS(none, 404);  // nobody provides volumes here
  cluster.adjust = [](ServerOptions& options) { options.default_provisioner = "x.io/here"; };
  CO_CALL(own, "POST", kClasses, R"({"metadata":{"name":"own","annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"p"})");
  CO_TRY(co_await cluster.restart());
  CO_CALL(not_needed, "GET", kClasses + "/local-path");
  CO_EXPECT_STATUS(not_needed, 404);
  CO_CALL(removed, "DELETE", kClasses + "/own");
  CO_EXPECT_STATUS(removed, 200);
  CO_TRY(co_await cluster.restart());
  CO_CALL(made, "GET", kClasses + "/local-path");
  CO_EXPECT_STATUS(made, 200);
  EXPECT_EQ(made.text({"provisioner"}), "x.io/here");
  EXPECT_EQ(made.text({"volumeBindingMode"}), "WaitForFirstConsumer");
  EXPECT_EQ(made.text({"metadata", "annotations", "storageclass.kubernetes.io/is-default-class"}), "true");
  CO_CALL(unwanted, "DELETE", kClasses + "/local-path");
  CO_EXPECT_STATUS(unwanted, 200);
  CO_TRY(co_await cluster.restart());
  CO_CALL(stays, "GET", kClasses + "/local-path");
  CO_EXPECT_STATUS(stays, 404);
  co_return Result<>();
}
TEST(DefaultStorageClass, IsMadeOnceWhereNoneIsAndStaysDeleted) { with_cluster(first_class); }

async::Task<Result<>> growth(TestCluster& cluster) {
  const std::string claims = "/api/v1/namespaces/default/persistentvolumeclaims";
  const http::Headers merge{{"content-type", "application/merge-patch+json"}};
  CO_CALL(grows, "POST", kClasses, R"({"metadata":{"name":"grows"},"provisioner":"p","allowVolumeExpansion":true})");
  CO_CALL(stays, "POST", kClasses, R"({"metadata":{"name":"stays"},"provisioner":"p"})");
  struct Case {
    const char *name, *of_class, *phase;
    int status;
    const char* message;
  };
  const Case cases[] = {
      {"a", "grows", "Bound", 200, ""},
      {"b", "stays", "Bound", 403, "persistentvolumeclaims \"b\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"},
      {"c", "absent", "Bound", 403, "persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"},
      {"d", "", "Bound", 403, "persistentvolumeclaims \"d\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"},
      {"e", "grows", "Pending", 422, "PersistentVolumeClaim \"e\" is invalid: spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"},
  };
  for (const Case& c : cases) {
    CO_CALL(made, "POST", claims, cat(R"({"metadata":{"name":")", c.name, R"("},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}},"storageClassName":")", c.of_class, "\"}}"));
    CO_EXPECT_STATUS(made, 201);
    CO_CALL(phase, "PATCH", cat(claims, "/", c.name, "/status"), cat(R"({"status":{"phase":")", c.phase, "\"}}"), merge);
    CO_CALL(patched, "PATCH", cat(claims, "/", c.name), R"({"spec":{"resources":{"requests":{"storage":"2Gi"}}}})", merge);
    CO_EXPECT_STATUS(patched, c.status);
    if (c.status != 200) EXPECT_EQ(patched.text({"message"}), c.message);
    CO_CALL(labelled, "PATCH", cat(claims, "/", c.name), R"({"metadata":{"labels":{"a":"b"}}})", merge);
    CO_EXPECT_STATUS(labelled, 200);
  }
  co_return Result<>();
}
TEST(VolumeClaimResize, AClaimGrowsWhereItsClassAllowsIt) { with_cluster(growth); }

async::Task<Result<>> ingress(TestCluster& cluster) {
  const std::string ingresses = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
  auto one = [](std::string_view name, std::string_view meta, std::string_view spec) {
    return cat(R"({"metadata":{"name":")", name, '"', meta, R"(},"spec":{"defaultBackend":{"service":{"name":"s","port":{"number":80}}})", spec, "}}");
  };
  CO_CALL(made, "POST", "/apis/networking.k8s.io/v1/ingressclasses", R"({"metadata":{"name":"main","annotations":{"ingressclass.kubernetes.io/is-default-class":"true"}},"spec":{"controller":"x.io/y"}})");
  CO_EXPECT_STATUS(made, 201);
  CO_CALL(plain, "POST", ingresses, one("plain", "", ""));
  EXPECT_EQ(plain.text({"spec", "ingressClassName"}), "main");
  CO_CALL(given, "POST", ingresses, one("given", "", R"(,"ingressClassName":"other")"));
  EXPECT_EQ(given.text({"spec", "ingressClassName"}), "other");
  CO_CALL(annotated, "POST", ingresses, one("annotated", R"(,"annotations":{"kubernetes.io/ingress.class":"old"})", ""));
  EXPECT_EQ(annotated.text({"spec", "ingressClassName"}), "") << "the older way of naming a class";
  co_return Result<>();
}
TEST(DefaultIngressClass, FillsInWhatIsNotNamed) { with_cluster(ingress); }

async::Task<Result<>> runtime(TestCluster& cluster) {
  CO_CALL(account, "POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  CO_CALL(missing, "POST", std::string(kPods), pod("a", R"("runtimeClassName":"vm")"));
  CO_EXPECT_STATUS(missing, 403);
  EXPECT_EQ(missing.text({"message"}), "pods \"a\" is forbidden: pod rejected: RuntimeClass \"vm\" not found");
  CO_CALL(stray, "POST", std::string(kPods), pod("a", R"("overhead":{"cpu":"1"})"));
  CO_EXPECT_STATUS(stray, 403);
  EXPECT_EQ(stray.text({"message"}), "pods \"a\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
  CO_CALL(made, "POST", "/apis/node.k8s.io/v1/runtimeclasses",
          R"({"metadata":{"name":"vm"},"handler":"kata","overhead":{"podFixed":{"cpu":"250m","memory":"64Mi"}},"scheduling":{"nodeSelector":{"vm":"yes"},"tolerations":[{"key":"vm","operator":"Exists"},{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute"}]}})");
  CO_EXPECT_STATUS(made, 201);
  CO_CALL(taken, "POST", std::string(kPods), pod("a", R"("runtimeClassName":"vm","nodeSelector":{"x":"y"})"));
  CO_EXPECT_STATUS(taken, 201);
  EXPECT_EQ(taken.text({"spec", "overhead", "cpu"}), "250m");
  EXPECT_EQ(taken.text({"spec", "nodeSelector", "vm"}), "yes");
  EXPECT_EQ(taken.text({"spec", "nodeSelector", "x"}), "y");
  json::Value pod_made = taken.tree();
  const json::Array* tolerations = json::get_array(pod_made, {"spec", "tolerations"});
  CO_ASSERT_TRUE(tolerations != nullptr && tolerations->size() == 3);
  EXPECT_EQ(json::get_string((*tolerations)[0], {"key"}), "node.kubernetes.io/unreachable") << "the class tolerates not-ready for ever, which covers the default";
  CO_CALL(same, "POST", std::string(kPods), pod("b", R"("runtimeClassName":"vm","overhead":{"cpu":"0.25","memory":"64Mi"})"));
  CO_EXPECT_STATUS(same, 201);
  CO_CALL(other, "POST", std::string(kPods), pod("c", R"("runtimeClassName":"vm","overhead":{"cpu":"1"})"));
  CO_EXPECT_STATUS(other, 403);
  EXPECT_EQ(other.text({"message"}), "pods \"c\" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
  CO_CALL(conflict, "POST", std::string(kPods), pod("c", R"("runtimeClassName":"vm","nodeSelector":{"vm":"no"})"));
  CO_EXPECT_STATUS(conflict, 403);
  EXPECT_EQ(conflict.text({"message"}), "pods \"c\" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no");
  co_return Result<>();
}
TEST(RuntimeClass, GivesOverheadAndPlace) { with_cluster(runtime); }

}  // namespace
}  // namespace monopod::api
