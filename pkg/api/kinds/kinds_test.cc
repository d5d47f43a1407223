#include "api/kinds/kinds.h"

#include <gtest/gtest.h>

#include "api/kinds/names.h"
#include "api/kinds/schedule.h"
#include "api/schema/decode.h"
#include "api/schema/sample.h"
#include "base/rng.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

json::Value made(const Resource& r, std::string_view text) {
  auto d = decode_json(text, {&r.type(), r.group_version(), r.kind()}, FieldValidation::kStrict);
  EXPECT_TRUE(d) << (d ? "" : d.error().message());
  json::Value v = d ? d->object : json::Value(json::Object());
  set_defaults(v, r);
  return v;
}
const Resource& resource(std::string_view group, std::string_view plural) { return *find_resource(group, plural); }

constexpr const char* kPod = R"({"metadata":{"name":"a","namespace":"default"},"spec":{"containers":[{"name":"c","image":"busybox","ports":[{"containerPort":80}],
  "livenessProbe":{"httpGet":{"port":80}},"resources":{"limits":{"cpu":"1"}}}],"volumes":[{"name":"v"}]}})";
constexpr const char* kDeployment = R"({"metadata":{"name":"d","namespace":"default"},"spec":{"selector":{"matchLabels":{"a":"b"}},
  "template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x:1"}]}}}})";

TEST(Defaults, PodGetsUpstreams) {
  json::Value pod = made(resource("", "pods"), kPod);
  EXPECT_EQ(json::format(pod.at("spec")),
            R"({"containers":[{"image":"busybox","imagePullPolicy":"Always","livenessProbe":{"failureThreshold":3,"httpGet":{"path":"/","port":80,"scheme":"HTTP"},"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1},)"
            R"("name":"c","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"limits":{"cpu":"1"},"requests":{"cpu":"1"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],)"
            R"("dnsPolicy":"ClusterFirst","enableServiceLinks":true,"restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30,"volumes":[{"emptyDir":{},"name":"v"}]})");
}

TEST(Defaults, DeploymentAndServiceGetUpstreams) {
  json::Value d = made(resource("apps", "deployments"), kDeployment);
  EXPECT_EQ(json::format(d.at("spec").at("strategy")), R"({"rollingUpdate":{"maxSurge":"25%","maxUnavailable":"25%"},"type":"RollingUpdate"})");
  EXPECT_EQ(json::get_int(d, {"spec", "replicas"}), 1);
  EXPECT_EQ(json::get_int(d, {"spec", "progressDeadlineSeconds"}), 600);
  EXPECT_EQ(json::find(d, {"spec", "template", "spec", "enableServiceLinks"}), nullptr);
  json::Value s = made(resource("", "services"), R"({"metadata":{"name":"s","namespace":"default"},"spec":{"ports":[{"port":80}],"sessionAffinity":"ClientIP"}})");
  EXPECT_EQ(json::format(s.at("spec")),
            R"({"internalTrafficPolicy":"Cluster","ports":[{"port":80,"protocol":"TCP","targetPort":80}],"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":10800}},"type":"ClusterIP"})");
  json::Value secret = made(resource("", "secrets"), R"({"metadata":{"name":"s"},"stringData":{"k":"v"}})");
  EXPECT_EQ(json::format(secret), R"({"apiVersion":"v1","data":{"k":"dg=="},"kind":"Secret","metadata":{"name":"s"},"type":"Opaque"})");
}

TEST(Defaults, AreIdempotentForEveryKind) {
  for (const Resource& r : resources()) {
    json::Value v = made(r, R"({"metadata":{"name":"a","namespace":"b"}})");
    std::string once = json::format(v);
    set_defaults(v, r);
    EXPECT_EQ(json::format(v), once) << r.kind();
    prepare_create(v, r);
    json::Value again = v;
    prepare_create(again, r);
    EXPECT_EQ(again, v) << r.kind();
    (void)validate_create(v, r);
    json::Value updated = v;
    prepare_update(updated, v, r, "");
    EXPECT_EQ(updated, v) << r.kind();
    (void)validate_update(updated, v, r, "");
    (void)validate_update(updated, v, r, "status");
  }
  json::Value pod = made(resource("", "pods"), kPod);
  json::Value again = pod;
  set_defaults(again, resource("", "pods"));
  EXPECT_EQ(again, pod);
}

// Whoever is told the shape looks a tree through only where it has another by now: with the same outcome.
TEST(Prepare, ATreeThatKeptItsShapeIsCanonicalStill) {
  SeededRng rng(3);
  auto all = resources();
  for (int i = 0; i < 600; ++i) {
    const Resource& r = all[rng.below(all.size())];
    json::Value old = make_sample(r.type(), rng, 3);
    if (!canonicalize(old, r.type())) continue;
    set_defaults(old, r);
    json::Value now = rng.below(3) == 0 ? make_sample(r.type(), rng, 3) : old;
    if (!canonicalize(now, r.type())) continue;
    std::string_view subresource = rng.below(4) == 0 ? "status" : "";
    json::Value shaped = now, looked_through = now;
    TreeShape shape = set_defaults(shaped, r);
    EXPECT_EQ(shape, shape_of(shaped));
    set_defaults(looked_through, r);
    prepare_update(shaped, old, r, subresource, shape);
    prepare_update(looked_through, old, r, subresource);
    ASSERT_EQ(json::format(shaped), json::format(looked_through)) << r.kind();
  }
}

TEST(Prepare, AShapeTellsWhatComesGoesAndMoves) {
  json::Value tree = *json::parse(R"({"a":{"b":1,"c":"x"},"d":[1,2]})");
  const TreeShape before = shape_of(tree);
  tree.at("a").at("b") = 2;
  EXPECT_EQ(shape_of(tree), before);
  tree.at("a").at("b") = 0;  // what may be empty is told apart
  EXPECT_NE(shape_of(tree), before);
  tree.at("a").at("b") = 1;
  tree.at("d").get_array().push_back(3);
  EXPECT_NE(shape_of(tree), before);
  tree.at("d").get_array().pop_back();
  EXPECT_EQ(shape_of(tree), before);
  tree.get_object()["e"] = nullptr;
  EXPECT_NE(shape_of(tree), before);
  tree.get_object().stable_erase("e");
  tree.at("a").get_object().erase("b");
  tree.at("a").get_object()["b"] = 1;
  EXPECT_NE(shape_of(tree), before);
}

TEST(Prepare, StatusAndGenerationFollowTheRules) {
  const Resource& r = resource("apps", "deployments");
  json::Value d = made(r, kDeployment);
  d.get_object()["status"] = json::Object{{"replicas", 3}};
  prepare_create(d, r);
  EXPECT_EQ(json::format(d.at("status")), "{}");
  EXPECT_EQ(json::get_int(d, {"metadata", "generation"}), 1);
  json::Value changed = d;
  json::at_path(changed, {"spec", "replicas"}) = 2;
  json::at_path(changed, {"status", "replicas"}) = 9;
  prepare_update(changed, d, r, "");
  EXPECT_EQ(json::get_int(changed, {"metadata", "generation"}), 2);
  EXPECT_EQ(json::find(changed, {"status", "replicas"}), nullptr);
  json::Value status = d;
  json::at_path(status, {"spec", "replicas"}) = 7;
  json::at_path(status, {"status", "replicas"}) = 9;
  prepare_update(status, d, r, "status");
  EXPECT_EQ(json::get_int(status, {"spec", "replicas"}), 1);
  EXPECT_EQ(json::get_int(status, {"status", "replicas"}), 9);
  EXPECT_EQ(json::get_int(status, {"metadata", "generation"}), 1);
  json::Value pod = made(resource("", "pods"), kPod);
  prepare_create(pod, resource("", "pods"));
  EXPECT_EQ(json::format(pod.at("status")), R"({"phase":"Pending","qosClass":"Burstable"})");
}

std::string invalid(std::string_view group, std::string_view plural, std::string_view text) {
  const Resource& r = resource(group, plural);
  FieldErrors errors = validate_create(made(r, text), r);
  return errors.empty() ? "" : errors.text();
}

TEST(Validation, MessagesAreUpstreams) {
  struct { const char *group, *plural, *text, *expected; } cases[] = {
      {"", "pods", R"({"metadata":{"name":"A_b","namespace":"default"},"spec":{"containers":[{"name":"c","image":"x"}]}})",
       "metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', "
       "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"},
      {"", "pods", R"({"metadata":{"name":"a","namespace":"default"},"spec":{}})", "spec.containers: Required value"},
      {"", "pods", R"({"metadata":{"name":"a","namespace":"default"},"spec":{"restartPolicy":"X","containers":[{"name":"c"}]}})",
       R"([spec.containers[0].image: Required value, spec.restartPolicy: Unsupported value: "X": supported values: "Always", "Never", "OnFailure"])"},
      {"", "pods", R"({"metadata":{"name":"a","namespace":"default"},"spec":{"containers":[{"name":"c","image":"x","volumeMounts":[{"name":"n","mountPath":"/a"}]},{"name":"c","image":"x"}]}})",
       R"([spec.containers[0].volumeMounts[0].name: Not found: "n", spec.containers[1].name: Duplicate value: "c"])"},
      {"", "pods", R"({"metadata":{"name":"a","namespace":"default"},"spec":{"containers":[{"name":"c","image":"x","resources":{"limits":{"cpu":"1"},"requests":{"cpu":"2"}}}]}})",
       R"(spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1)"},
      {"apps", "deployments", R"({"metadata":{"name":"d","namespace":"default"},"spec":{"selector":{"matchLabels":{"a":"x"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x"}]}}}})",
       R"(spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`)"},
      {"", "services", R"({"metadata":{"name":"1s","namespace":"default"},"spec":{}})",
       "[metadata.name: Invalid value: \"1s\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character "
       "(e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?'), spec.ports: Required value]"},
      {"", "configmaps", R"({"metadata":{"name":"c","namespace":"default"},"data":{"a b":"1"}})",
       "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"},
      {"", "configmaps", R"({"metadata":{"name":"c","namespace":"default","labels":{"a":"b c"}}})",
       "metadata.labels: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
       "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"},
      {"", "secrets", R"({"metadata":{"name":"c","namespace":"default"},"type":"kubernetes.io/tls"})", "[data[tls.crt]: Required value, data[tls.key]: Required value]"},
      {"rbac.authorization.k8s.io", "roles", R"({"metadata":{"name":"a:b","namespace":"default"},"rules":[{"verbs":[]}]})",
       "[rules[0].verbs: Required value: verbs must contain at least one value, rules[0].apiGroups: Required value: resource rules must supply at least one api group, "
       "rules[0].resources: Required value: resource rules must supply at least one resource]"},
      {"", "configmaps", R"({"metadata":{"namespace":"default"}})", "metadata.name: Required value: name or generateName is required"},
  };
  for (auto& c : cases) EXPECT_EQ(invalid(c.group, c.plural, c.text), c.expected);
  EXPECT_EQ(invalid("", "pods", kPod), "");
  EXPECT_EQ(invalid("apps", "deployments", kDeployment), "");
}

// group, plural, what stands beside metadata, what is said of it. Of each rule of rules.cc and of the files beside it.
TEST(Validation, FieldsOfTheSimplerKinds) {
  struct { const char *group, *plural, *text, *expected; } cases[] = {
      {"policy", "poddisruptionbudgets", R"("spec":{"minAvailable":1,"maxUnavailable":1})", R"(spec: Invalid value: {"maxUnavailable":1,"minAvailable":1}: minAvailable and maxUnavailable cannot be both set)"},
      {"policy", "poddisruptionbudgets", R"("spec":{"minAvailable":"150%"})", R"(spec.minAvailable: Invalid value: "150%": must not be greater than 100%)"},
      {"policy", "poddisruptionbudgets", R"("spec":{"minAvailable":"100%","selector":{"matchLabels":{"a":"b"}}})", ""},
      {"policy", "poddisruptionbudgets", R"("spec":{"unhealthyPodEvictionPolicy":"X"})", R"(spec.unhealthyPodEvictionPolicy: Unsupported value: "X": supported values: "AlwaysAllow", "IfHealthyBudget")"},
      {"batch", "cronjobs", R"("spec":{"schedule":"bad","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"x"}]}}}}})",
       R"(spec.schedule: Invalid value: "bad": expected exactly 5 fields, found 1: [bad])"},
      {"batch", "cronjobs", R"("spec":{"schedule":"TZ=UTC * * * * *","startingDeadlineSeconds":-1,"jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"x"}]}}}}})",
       R"([spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead, spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0])"},
      {"autoscaling", "horizontalpodautoscalers", R"("spec":{"minReplicas":5,"maxReplicas":3,"scaleTargetRef":{"kind":"D"}})",
       "[spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`, spec.scaleTargetRef.name: Required value]"},
      {"autoscaling", "horizontalpodautoscalers", R"("spec":{"maxReplicas":3,"scaleTargetRef":{"kind":"D","name":"d"},"behavior":{"scaleUp":{"selectPolicy":"X"},"scaleDown":{"stabilizationWindowSeconds":3601,"policies":[{"type":"Pods","value":0,"periodSeconds":1801}]}}})",
       R"([spec.behavior.scaleUp.selectPolicy: Unsupported value: "X": supported values: "Disabled", "Max", "Min", spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600, spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero, spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800])"},
      {"autoscaling", "horizontalpodautoscalers", R"("spec":{"maxReplicas":3,"scaleTargetRef":{"kind":"D","name":"d"},"behavior":{"scaleUp":{}}})", ""},
      {"apps", "deployments", R"("spec":{"selector":{"matchLabels":{"a":"b"}},"strategy":{"rollingUpdate":{"maxSurge":0,"maxUnavailable":0}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x"}]}}})",
       "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"},
      {"batch", "cronjobs", R"("spec":{"schedule":"@daily","timeZone":"","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"x"}]}}}}})",
       "spec.timeZone: Invalid value: \"\": must be nil or non-empty string"},
      {"networking.k8s.io", "ingresses", R"("spec":{"rules":[{"host":"1.2.3.4","http":{"paths":[{"path":"x","pathType":"Prefix","backend":{"service":{"name":"s"}}}]}}]})",
       R"([spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address, spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path, spec.rules[0].http.paths[0].backend: Required value: port name or number is required])"},
      {"networking.k8s.io", "ingresses", R"("spec":{"rules":[{"host":"*.foo.com","http":{"paths":[{"path":"/x","pathType":"Exact","backend":{"service":{"name":"s","port":{"number":80}}}}]}}],"tls":[{"hosts":["foo.com"]}]})", ""},
      {"networking.k8s.io", "ingressclasses", R"("spec":{"controller":"bad"})", R"(spec.controller: Invalid value: "bad": must be a domain-prefixed path (such as "acme.io/foo"))"},
      {"networking.k8s.io", "ingressclasses", R"("spec":{})", "spec.controller: Required value"},
      {"networking.k8s.io", "networkpolicies", R"("spec":{"podSelector":{},"egress":[{"to":[{"ipBlock":{"cidr":"bad"}}],"ports":[{"port":80,"endPort":70}]}]})",
       "[spec.egress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`, spec.egress[0].to[0].ipBlock.cidr: Invalid value: \"bad\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)]"},
      {"networking.k8s.io", "servicecidrs", R"("spec":{"cidrs":[]})", "spec.cidrs: Required value: at least one CIDR required"},
      {"networking.k8s.io", "ipaddresses", R"("spec":{"parentRef":{"resource":"services"}})",
       R"([metadata.name: Invalid value: "a": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff), spec.parentRef.name: Required value])"},
      {"node.k8s.io", "runtimeclasses", R"("handler":"Bad_")",
       "handler: Invalid value: \"Bad_\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
       "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"},
      {"scheduling.k8s.io", "priorityclasses", R"("value":1000000001)", "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"},
      {"storage.k8s.io", "storageclasses", R"("volumeBindingMode":"X")", R"([provisioner: Required value, volumeBindingMode: Unsupported value: "X": supported values: "Immediate", "WaitForFirstConsumer"])"},
      {"", "persistentvolumeclaims", R"("spec":{"accessModes":["X"],"resources":{"requests":{"storage":"0"}}})",
       R"([spec.resources[storage]: Invalid value: "0": must be greater than zero, spec.accessModes[0]: Unsupported value: "X": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"])"},
      {"", "persistentvolumes", R"("spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/a/../b"},"nfs":{"server":"x","path":"/y"}})",
       R"([spec.nfs: Forbidden: may not specify more than 1 volume type, spec.hostPath.path: Invalid value: "/a/../b": must not contain '..'])"},
      {"", "limitranges", R"("spec":{"limits":[{"type":"Container","min":{"cpu":"2"},"max":{"cpu":"1"}}]})",
       R"([spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1, spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1, spec.limits[0].default[cpu]: Invalid value: "1": min value 2 is greater than default value 1])"},
      {"apps", "controllerrevisions", R"("revision":-1)", "[revision: Invalid value: -1: must be greater than or equal to 0, data: Required value: data is mandatory]"},
      {"apps", "statefulsets", R"("spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x"}]}},"minReadySeconds":-1,"ordinals":{"start":-1},"updateStrategy":{"rollingUpdate":{"partition":-1,"maxUnavailable":0}}})", R"([spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0, spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0, spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0, spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0])"},
      {"apps", "statefulsets", R"("spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x","volumeMounts":[{"name":"data","mountPath":"/a"},{"name":"none","mountPath":"/b"}]}]}},"volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}]})", R"(spec.template.spec.containers[0].volumeMounts[1].name: Not found: "none")"},
      {"apps", "statefulsets", R"("spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x"}]}},"persistentVolumeClaimRetentionPolicy":{"whenScaled":"Keep"},"updateStrategy":{"rollingUpdate":{"maxUnavailable":"0%"}}})", R"([spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Keep": supported values: "Delete", "Retain", spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "0%": cannot be 0])"},
      {"apps", "daemonsets", R"("spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x"}]}},"updateStrategy":{"rollingUpdate":{"maxUnavailable":1,"maxSurge":"10%"}}})", R"(spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: "10%": may not be set when maxUnavailable is non-zero)"},
      {"apps", "daemonsets", R"("spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x"}]}},"revisionHistoryLimit":-1,"updateStrategy":{"rollingUpdate":{"maxUnavailable":0}}})", R"([spec.revisionHistoryLimit: Invalid value: -1: must be greater than or equal to 0, spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0])"},
      {"", "replicationcontrollers", R"("spec":{"selector":{"z":"z"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"x"}]}}})",
       "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"},
      {"", "services", R"("spec":{"ports":[{"port":80}],"externalTrafficPolicy":"Local"})", R"(spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services)"},
      {"", "pods", R"("spec":{"containers":[{"name":"c","image":"x"}],"securityContext":{"sysctls":[{"name":"foo-","value":"1"},{"name":"kernel.shmmax","value":"1"},{"name":"safe-and-unsafe","value":"1"},{"name":"bar..","value":"1"}]}})",
       R"([spec.securityContext.sysctls[0].name: Invalid value: "foo-": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$, )"
       R"(spec.securityContext.sysctls[3].name: Invalid value: "bar..": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$])"},
      {"", "pods", R"("spec":{"containers":[{"name":"c","image":"x","lifecycle":{"preStop":{}},"env":[{"name":"a","valueFrom":{"fieldRef":{"fieldPath":"bad"}}}]}]})",
       R"([spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "bad": error converting fieldPath: field label not supported: bad, spec.containers[0].lifecycle.preStop: Required value: must specify a handler type])"},
      {"", "pods", R"("spec":{"containers":[{"name":"c","image":"x"}],"schedulingGates":[{"name":"a"},{"name":"a"}],"hostAliases":[{"ip":"bad","hostnames":["x"]}]})",
       R"([spec.hostAliases[0].ip: Invalid value: "bad": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff), spec.schedulingGates[1]: Duplicate value: "a"])"},
  };
  for (auto& c : cases) {
    bool spaced = resource(c.group, c.plural).namespaced;
    EXPECT_EQ(invalid(c.group, c.plural, cat(R"({"metadata":{"name":"a")", spaced ? R"(,"namespace":"default")" : "", "},", c.text, "}")), c.expected) << c.plural << c.text;
  }
}

// 0 is not "nothing said": it says that no pod may be missing.
TEST(Defaults, ACountOfZeroStays) {
  json::Value deployment = made(resource("apps", "deployments"), R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"strategy":{"rollingUpdate":{"maxUnavailable":0}},"template":{"spec":{"containers":[{"name":"c","image":"x"}]}}}})");
  EXPECT_EQ(json::format(*json::find(deployment, {"spec", "strategy"})), R"({"rollingUpdate":{"maxSurge":"25%","maxUnavailable":0},"type":"RollingUpdate"})");
  json::Value budget = made(resource("policy", "poddisruptionbudgets"), R"({"metadata":{"name":"b"},"spec":{"maxUnavailable":0}})");
  EXPECT_EQ(json::format(*json::find(budget, {"spec"})), R"({"maxUnavailable":0})");
}

TEST(Validation, SchedulesOfCronJobs) {
  for (const char* good : {"*/5 * * * *", "0 0-6/2 1,15 jan-mar MON", "* */1 * * ?", "@hourly", "@every 1h30m", "0 0 31 feb *", "59 23 31 12 6"}) EXPECT_TRUE(kinds::parse_schedule(good)) << good;
  struct { const char *text, *why; } bad[] = {{"60 * * * *", "end of range (60) above maximum (59): 60"}, {"* * 0 * *", "beginning of range (0) below minimum (1): 0"}, {"* * * * 7", "end of range (7) above maximum (6): 7"},
                                              {"5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"}, {"*/0 * * * *", "step of range should be a positive number: */0"},
                                              {"* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"}, {"x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"}, {"@often", "unrecognized descriptor: @often"}};
  for (auto& b : bad) {
    auto checked = kinds::parse_schedule(b.text);
    ASSERT_FALSE(checked) << b.text;
    EXPECT_EQ(checked.error().message(), b.why);
  }
}

TEST(Validation, UpdatesKeepWhatIsImmutable) {
  const Resource& pods = resource("", "pods");
  json::Value pod = made(pods, kPod);
  json::Value image = pod;
  image.at("spec").at("containers").at(0).get_object()["image"] = "other";
  EXPECT_TRUE(validate_update(image, pod, pods, "").empty()) << validate_update(image, pod, pods, "").text();
  json::Value host = pod;
  host.at("spec").get_object()["hostNetwork"] = true;
  EXPECT_TRUE(validate_update(host, pod, pods, "").text().find("spec: Forbidden: pod updates may not change fields other than") != std::string::npos);
  const Resource& deployments = resource("apps", "deployments");
  json::Value d = made(deployments, kDeployment), e = d;
  e.at("spec").at("selector").at("matchLabels").get_object()["z"] = "1";
  e.at("spec").at("template").at("metadata").at("labels").get_object()["z"] = "1";
  EXPECT_EQ(validate_update(e, d, deployments, "").text(), R"(spec.selector: Invalid value: {"matchLabels":{"a":"b","z":"1"}}: field is immutable)");
}

TEST(Validation, EphemeralContainersAreAddedAndNeverTouchedAgain) {
  const Resource& pods = resource("", "pods");
  json::Value old = made(pods, R"({"metadata":{"name":"a","namespace":"d"},"spec":{"containers":[{"name":"c","image":"x:1"}],"ephemeralContainers":[{"name":"e","image":"x:1"}]}})");
  struct Row {
    const char *containers, *error;
  };
  for (const Row& row : {
           Row{R"([{"name":"e","image":"x:1"},{"name":"f","image":"x:1","targetContainerName":"c","stdin":true}])", "[]"},
           Row{R"([{"name":"f","image":"x:1"}])", "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be removed\n"},
           Row{R"([{"name":"e","image":"x:2"}])", "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be changed\n"},
           Row{R"([{"name":"e","image":"x:1"},{"name":"c","image":"x:1"}])", "spec.ephemeralContainers[1].name: Duplicate value: \"c\""},
           Row{R"([{"name":"e","image":"x:1"},{"name":"f","image":"x:1","targetContainerName":"e"}])", "spec.ephemeralContainers[1].targetContainerName: Not found: \"e\""},
           Row{R"([{"name":"e","image":"x:1"},{"name":"f","image":"x:1","resources":{"limits":{"cpu":"1"}}}])", "spec.ephemeralContainers[1].resources: Forbidden: cannot be set for an Ephemeral Container"},
           Row{R"([{"name":"e","image":"x:1"},{"name":"f","image":"x:1","livenessProbe":{"tcpSocket":{"port":1}}}])", "spec.ephemeralContainers[1].livenessProbe: Forbidden: cannot be set for an Ephemeral Container"},
       }) {
    json::Value now = made(pods, cat(R"({"metadata":{"name":"a","namespace":"d"},"spec":{"containers":[{"name":"other","image":"y:1"}],"ephemeralContainers":)", row.containers, "}}"));
    prepare_update(now, old, pods, "ephemeralcontainers");
    EXPECT_EQ(json::get_string(json::get_array(now, {"spec", "containers"})->at(0), {"name"}), "c") << "nothing else is written";
    EXPECT_EQ(validate_update(now, old, pods, "ephemeralcontainers").text(), row.error) << row.containers;
  }
}

TEST(Validation, StatusCarriesTheCauses) {
  FieldErrors errors;
  errors.required(Path("spec")["containers"]);
  json::Value status = make_invalid_status("apps", "Deployment", "d", errors);
  EXPECT_EQ(json::get_string(status, {"message"}), R"(Deployment.apps "d" is invalid: spec.containers: Required value)");
  EXPECT_EQ(json::format(status.at("details").at("causes")), R"([{"reason":"FieldValueRequired","message":"Required value","field":"spec.containers"}])");
}

TEST(FieldSelectors, KindsSayWhatTheyKnow) {
  const Resource& pods = resource("", "pods");
  json::Value pod = made(pods, kPod);
  EXPECT_TRUE(is_selectable(pods, "spec.nodeName"));
  EXPECT_FALSE(is_selectable(pods, "spec.containers"));
  EXPECT_EQ(selectable_value(pod, pods, "spec.restartPolicy"), "Always");
  EXPECT_EQ(selectable_value(pod, pods, "status.phase"), "");
  json::Value node = json::Object{{"spec", json::Object()}};
  EXPECT_EQ(selectable_value(node, resource("", "nodes"), "spec.unschedulable"), "false");
  json::Value event = json::Object{{"involvedObject", json::Object{{"name", "x"}}}, {"reportingComponent", "me"}};  // as it is stored
  EXPECT_EQ(selectable_value(event, resource("events.k8s.io", "events"), "regarding.name"), "x");
  EXPECT_EQ(selectable_value(event, resource("events.k8s.io", "events"), "reportingController"), "me");
  EXPECT_EQ(selectable_value(event, resource("", "events"), "source"), "me") << "where it has no source of its own";
  EXPECT_FALSE(is_selectable(resource("events.k8s.io", "events"), "involvedObject.name"));
}

}  // namespace
}  // namespace monopod::api
