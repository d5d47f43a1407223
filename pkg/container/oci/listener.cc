#include "container/oci/listener.h"

#include "container/oci/launch.h"

namespace monopod::container::oci {

Result<> hand_over_listener(const ContainerConfig& config, const json::Value& state, int pid, int listener) {
  if (!config.seccomp || config.seccomp->listener_path.empty()) return fail(Code::kInvalidArgument, "linux.seccomp: SCMP_ACT_NOTIFY without listenerPath");
  json::Object text{{"ociVersion", kOciVersion}, {"fds", json::Array{"seccompFd"}}, {"pid", pid}, {"metadata", config.seccomp->listener_metadata}, {"state", state}};
  Result<> sent = send_descriptor(config.seccomp->listener_path, json::format(text), listener);
  if (!sent) return fail(std::move(sent).error().with("linux.seccomp.listenerPath"));
  return {};
}

}  // namespace monopod::container::oci
