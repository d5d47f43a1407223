// The Pod Security Standards (kubernetes.io/docs/concepts/security/pod-security-standards) as pure functions over JSON trees.
// Texts are the ones that clients see from Kubernetes 1.35.
#pragma once

#include <string>
#include <vector>

#include "codec/json.h"

namespace monopod::api {

enum class PodSecurityLevel { kPrivileged, kBaseline, kRestricted };

// "latest" is newer than every v1.N.
inline constexpr int kPodSecurityLatest = 1 << 30;

struct PodSecurityPolicy {
  PodSecurityLevel level = PodSecurityLevel::kPrivileged;
  int minor = kPodSecurityLatest;  // N of v1.N
  std::string text() const;        // "restricted:latest", "baseline:v1.25"
  bool operator==(const PodSecurityPolicy&) const = default;
};

struct PodSecurityViolation {
  std::string reason;  // "hostPort"
  std::string detail;  // `container "a" uses hostPort 80`
};

// What a pod (or a template) violates, in upstream's order; empty where it is allowed.
std::vector<PodSecurityViolation> check_pod_security(const PodSecurityPolicy& policy, const json::Value& metadata, const json::Value& spec);

// "hostPort, privileged"
std::string format_reasons(const std::vector<PodSecurityViolation>& violations);
// "hostPort (container ...), privileged (...)"
std::string format_details(const std::vector<PodSecurityViolation>& violations);

}  // namespace monopod::api
