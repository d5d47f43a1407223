#include <gtest/gtest.h>

#include "api/admission/pod_security_checks.h"
#include "api/testing.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kPods = "/api/v1/namespaces/safe/pods";
constexpr std::string_view kPlain = R"({"containers":[{"name":"c","image":"i"}]})";
constexpr std::string_view kPlainDetails =
    "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "
    "\"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set "
    "securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or "
    "\"Localhost\")";

std::string details(PodSecurityLevel level, int minor, std::string_view spec) {
  auto tree = json::parse(spec);
  return tree ? format_details(check_pod_security({level, minor}, json::Object(), *tree)) : "not JSON";
}

struct Case {
  std::string_view name, spec, want;
};

TEST(PodSecurityChecks, BaselineNamesWhatItForbids) {
  const Case cases[] = {
      {"plain", kPlain, ""},
      {"host", R"({"hostNetwork":true,"hostPID":true})", "host namespaces (hostNetwork, hostPID)"},
      {"privileged", R"({"initContainers":[{"name":"a","securityContext":{"privileged":true}}],"containers":[{"name":"b","securityContext":{"privileged":true}}]})",
       "privileged (containers \"a\", \"b\" must not set securityContext.privileged=true)"},
      {"capabilities", R"({"containers":[{"name":"c","securityContext":{"capabilities":{"add":["NET_RAW","CHOWN","BPF"]}}}]})",
       "non-default capabilities (container \"c\" must not include \"BPF\", \"NET_RAW\" in securityContext.capabilities.add)"},
      {"volumes", R"({"volumes":[{"name":"v","hostPath":{"path":"/"}}]})", "hostPath volumes (volume \"v\")"},
      {"ports", R"({"containers":[{"name":"c","ports":[{"hostPort":90},{"hostPort":80}]}]})", "hostPort (container \"c\" uses hostPorts 80, 90)"},
      {"probe", R"({"containers":[{"name":"c","livenessProbe":{"httpGet":{"host":"h"}}}]})",
       "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"h\")"},
      {"selinux", R"({"securityContext":{"seLinuxOptions":{"type":"x","user":"u"}}})",
       "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set)"},
      {"procMount", R"({"containers":[{"name":"c","securityContext":{"procMount":"Unmasked"}}]})",
       "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")"},
      {"user namespace", R"({"hostUsers":false,"containers":[{"name":"c","securityContext":{"procMount":"Unmasked"}}]})",
       "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")"},
      {"seccomp", R"({"securityContext":{"seccompProfile":{"type":"Unconfined"}}})",
       "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")"},
      {"apparmor", R"({"securityContext":{"appArmorProfile":{"type":"Unconfined"}}})",
       "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")"},
      {"hostProcess", R"({"securityContext":{"windowsOptions":{"hostProcess":true}}})",
       "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)"},
      {"sysctls", R"({"securityContext":{"sysctls":[{"name":"a"},{"name":"net.ipv4.tcp_rmem"}]}})", "forbidden sysctls (a)"},
  };
  for (const Case& one : cases) EXPECT_EQ(details(PodSecurityLevel::kBaseline, kPodSecurityLatest, one.spec), one.want) << one.name;
}

TEST(PodSecurityChecks, RestrictedWantsEveryFieldAndOldVersionsLess) {
  EXPECT_EQ(details(PodSecurityLevel::kRestricted, kPodSecurityLatest, kPlain), kPlainDetails);
  EXPECT_EQ(details(PodSecurityLevel::kRestricted, 7, kPlain), "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)");
  EXPECT_EQ(details(PodSecurityLevel::kRestricted, kPodSecurityLatest, R"({"securityContext":{"runAsUser":0},"volumes":[{"name":"v","nfs":{}},{"name":"h","hostPath":{}}]})"),
            "restricted volume types (volumes \"v\", \"h\" use restricted volume types \"hostPath\", \"nfs\"), runAsUser=0 (pod must not set runAsUser=0)");
  EXPECT_EQ(details(PodSecurityLevel::kRestricted, 25, R"({"os":{"name":"windows"},"securityContext":{"runAsNonRoot":true},"containers":[{"name":"c"}]})"), "");
  EXPECT_EQ(details(PodSecurityLevel::kBaseline, 33, R"({"containers":[{"name":"c","livenessProbe":{"httpGet":{"host":"h"}}}]})"), "");
}

async::Task<Result<>> labels(TestCluster& cluster) {
  CO_CALL(wrong, "POST", "/api/v1/namespaces", R"({"metadata":{"name":"w","labels":{"pod-security.kubernetes.io/enforce":"x"}}})");
  CO_EXPECT_STATUS(wrong, 422);
  EXPECT_EQ(wrong.text({"message"}), "Namespace \"w\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"x\": must be one of privileged, baseline, restricted");
  CO_CALL(made, "POST", "/api/v1/namespaces", R"({"metadata":{"name":"safe","labels":{"pod-security.kubernetes.io/enforce":"restricted"}}})");
  CO_EXPECT_STATUS(made, 201);
  CO_CALL(account, "POST", "/api/v1/namespaces/safe/serviceaccounts", R"({"metadata":{"name":"default"}})");
  CO_CALL(refused, "POST", std::string(kPods), cat(R"({"metadata":{"name":"x"},"spec":)", kPlain, '}'));
  CO_EXPECT_STATUS(refused, 403);
  EXPECT_EQ(refused.text({"message"}), cat("pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\": ", kPlainDetails));
  const std::string merge = "application/merge-patch+json";
  CO_CALL(relaxed, "PATCH", "/api/v1/namespaces/safe", R"({"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"baseline","pod-security.kubernetes.io/warn":"restricted"}}})", {{"content-type", merge}});
  CO_EXPECT_STATUS(relaxed, 200);
  CO_CALL(warned, "POST", std::string(kPods), cat(R"({"metadata":{"name":"x"},"spec":)", kPlain, '}'));
  CO_EXPECT_STATUS(warned, 201);
  EXPECT_TRUE(warned.headers.find("warning").value_or("").starts_with("299 - \"would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation"));
  CO_CALL(relabelled, "PATCH", "/api/v1/namespaces/safe", R"({"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}})", {{"content-type", merge}});
  std::vector<std::string> warnings;
  for (std::string_view one : relabelled.headers.find_all("warning")) warnings.emplace_back(one);
  CO_ASSERT_TRUE(warnings.size() == 2);
  EXPECT_EQ(warnings[1], "299 - \"x: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile\"");
  EXPECT_EQ(warnings[0], "299 - \"existing pods in namespace \\\"safe\\\" violate the new PodSecurity enforce level \\\"restricted:latest\\\"\"");
  CO_CALL(labelled, "PATCH", std::string(kPods) + "/x", R"({"metadata":{"labels":{"a":"b"}}})", {{"content-type", merge}});
  CO_EXPECT_STATUS(labelled, 200);
  CO_CALL(other_image, "PATCH", std::string(kPods) + "/x", R"([{"op":"replace","path":"/spec/containers/0/image","value":"j"}])", {{"content-type", "application/json-patch+json"}});
  CO_EXPECT_STATUS(other_image, 403);
  CO_CALL(deployed, "POST", "/apis/apps/v1/namespaces/safe/deployments",
          cat(R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":)", kPlain, "}}}"));
  CO_EXPECT_STATUS(deployed, 201);
  EXPECT_TRUE(deployed.headers.find("warning").value_or("").starts_with("299 - \"would violate PodSecurity \\\"restricted:latest\\\"")) << "what makes pods only warns";
  CO_CALL(version, "PATCH", "/api/v1/namespaces/safe", R"({"metadata":{"labels":{"pod-security.kubernetes.io/warn-version":"1.30"}}})", {{"content-type", merge}});
  CO_EXPECT_STATUS(version, 422);
  EXPECT_TRUE(version.text({"message"}).contains("must be \"latest\" or \"v1.x\""));
  co_return Result<>();
}
TEST(PodSecurity, LabelsEnforce) { with_cluster(labels); }

}  // namespace
}  // namespace monopod::api
