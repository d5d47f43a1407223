// Where the agent keeps what belongs to a pod. uids and names come from the API server, which validates them; check_uid
// stands before any of them becomes a path.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/strings.h"

namespace monopod::agent {

struct Paths {
  std::string data_dir;
  std::string run_dir;

  std::string pods() const { return data_dir + "/pods"; }
  std::string pod(std::string_view uid) const { return cat(pods(), "/", uid); }
  std::string record(std::string_view uid) const { return pod(uid) + "/pod.json"; }
  std::string volume(std::string_view uid, std::string_view kind, std::string_view name) const { return cat(pod(uid), "/volumes/", kind, "/", name); }
  std::string etc(std::string_view uid) const { return pod(uid) + "/etc"; }
  std::string termination(std::string_view uid, std::string_view container, int attempt) const { return cat(pod(uid), "/containers/", container, "/", attempt); }
  std::string logs() const { return data_dir + "/logs"; }
  std::string pod_logs(std::string_view ns, std::string_view name, std::string_view uid) const { return cat(logs(), "/", ns, "_", name, "_", uid); }
  std::string run_pods() const { return run_dir + "/pods"; }
  std::string run_pod(std::string_view uid) const { return cat(run_pods(), "/", uid); }
  std::string namespaces(std::string_view uid) const { return run_pod(uid) + "/ns"; }
  std::string shm(std::string_view uid) const { return run_pod(uid) + "/shm"; }
  std::string rootfs(std::string_view uid, std::string_view id) const { return cat(run_pod(uid), "/root/", id); }
  std::string seccomp() const { return data_dir + "/seccomp"; }
};

// Letters, digits, '-', '_', '.'; no leading dot; at most 128 bytes.
inline Result<> check_path_name(std::string_view name) {
  bool good = !name.empty() && name.size() <= 128 && name[0] != '.';
  for (char c : name) good = good && (std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.');
  if (!good) return fail(Code::kInvalidArgument, cat("\"", name, "\" cannot be a path"));
  return {};
}

}  // namespace monopod::agent
