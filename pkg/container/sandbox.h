// The namespaces that a pod's containers share, pinned by bind-mounted files so that no process has to live for them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "sys/namespaces.h"

namespace monopod::container {

struct SandboxOptions {
  std::string directory;   // made; gets files net, ipc, uts, and user with maps
  std::string hostname;    // set in the new uts namespace; empty: the host's name
  bool network = true;
  bool ipc = true;
  bool uts = true;
  // Values set inside (allow-list of namespaced sysctls: net.*, kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*).
  std::vector<std::pair<std::string, std::string>> sysctls;
  sys::IdMaps maps;        // of a new user namespace that the others belong to; empty: the host's
};
struct SandboxNamespaces {
  std::string network_path;  // empty where not made
  std::string ipc_path;
  std::string uts_path;
  std::string user_path;
};

// Blocking (about a millisecond): on async::Pool. On error nothing is left.
Result<SandboxNamespaces> create_sandbox_namespaces(const SandboxOptions& options);
// What of it exists, after a restart.
SandboxNamespaces find_sandbox_namespaces(const std::string& directory);
Result<> remove_sandbox_namespaces(const std::string& directory);  // absent is no error

// A sysctl that containers may set: name of the allow-list, in a namespace of their own; value without control characters (CVE-2022-0811).
struct SysctlNamespaces {
  bool network = false;
  bool ipc = false;
  bool uts = false;
};
Result<> check_sysctl(const std::string& name, const std::string& value, const SysctlNamespaces& own);

}  // namespace monopod::container
