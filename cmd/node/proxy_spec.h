// A pod's part of the node's proxy configuration, made from the templates of the file: pure.
#pragma once

#include <string>
#include <vector>

#include "agent/sidecar.h"
#include "proxy/config/spec.h"

namespace monopod::cmd {

// The mark of what the proxy sends out from a pod's namespace, so that it is not taken once more.
inline constexpr std::uint32_t kProxyMark = 1U << 20;

// kFailedPrecondition naming what a file must have and has not.
Result<> check_templates(const proxy::Spec& base);
bool is_template(const proxy::ListenerSpec& listener);
// What is there once: base without what each pod gets its own of.
proxy::Spec shared_part(const proxy::Spec& base);
// The pod's listeners and clusters.
Result<> add_pod(const proxy::Spec& base, const agent::SidecarPod& pod, proxy::Spec& out);
// The rules that bring its connections to those listeners.
Result<network::InterceptSpec> intercept_spec(const proxy::Spec& base, const agent::SidecarPod& pod);

}  // namespace monopod::cmd
