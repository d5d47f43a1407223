#include "agent/security.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::agent {

std::string describe_pod(const Pod& pod) { return cat(pod.name, "_", pod.namespace_name, "(", pod.uid, ")"); }

EffectiveSecurity merge_security(const Pod& pod, const Container& container) {
  const SecurityContext& p = pod.security;
  const SecurityContext& c = container.security;
  EffectiveSecurity out;
  out.user = c.run_as_user ? c.run_as_user : p.run_as_user;
  out.group = c.run_as_group ? c.run_as_group : p.run_as_group;
  out.non_root = c.run_as_non_root.value_or(p.run_as_non_root.value_or(false));
  out.privileged = c.privileged;
  bool sys_admin = std::ranges::any_of(c.capabilities_add, [](const std::string& name) { return name == "SYS_ADMIN" || name == "CAP_SYS_ADMIN" || name == "ALL"; });
  out.no_new_privileges = c.allow_privilege_escalation && !*c.allow_privilege_escalation && !c.privileged && !sys_admin;
  out.masked_proc = !c.privileged && c.proc_mount != "Unmasked";
  if (c.seccomp) out.seccomp = *c.seccomp;
  else if (p.seccomp) out.seccomp = *p.seccomp;
  if (out.seccomp.type.empty()) out.seccomp.type = "RuntimeDefault";
  if (c.privileged) out.seccomp = {"Unconfined", ""};
  out.extra_groups = p.supplemental_groups;
  if (p.fs_group) out.extra_groups.push_back(*p.fs_group);
  out.image_groups = p.supplemental_groups_policy != "Strict";
  return out;
}

Result<> check_non_root(const Pod& pod, const Container& container, const EffectiveSecurity& security, std::string_view image_user) {
  if (!security.non_root) return {};
  std::string where = cat("(pod: \"", describe_pod(pod), "\", container: ", container.name, ")");
  if (security.user) {
    if (*security.user == 0) return fail(Code::kFailedPrecondition, cat("container's runAsUser breaks non-root policy ", where));
    return {};
  }
  std::string_view name = split_once(image_user, ':').first;
  if (name.empty() || name == "0") return fail(Code::kFailedPrecondition, cat("container has runAsNonRoot and image will run as root ", where));
  if (!parse_int<std::int64_t>(name))
    return fail(Code::kFailedPrecondition, cat("container has runAsNonRoot and image has non-numeric user (", name, "), cannot verify user is non-root ", where));
  return {};
}

Result<container::Capabilities> make_capabilities(const Container& container) {
  if (container.security.privileged) return container::all_capabilities();
  return container::adjust_capabilities(container.security.capabilities_add, container.security.capabilities_drop);
}

}  // namespace monopod::agent
