// Where a registry's images are fetched from: <config-dir>/<host[:port]>/hosts.toml, or _default/hosts.toml, as containerd reads them
// (docs/hosts.md there).
//
//   server = "https://registry-1.docker.io"
//   [host."https://mirror.local:5000"]
//     capabilities = ["pull", "resolve"]      # and "push"; all three where it is absent
//     ca = "/etc/certs/mirror.pem"            # one file, or a list
//     skip_verify = true
// A host with http:// is spoken to in plain text wherever it is. Hosts are tried in the order of the file, then the server. Other keys are errors.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::image {

struct RegistryHost {
  std::string url;                    // scheme://host[:port]
  bool pull = true, push = true;
  bool skip_verify = false;
  std::vector<std::string> ca_files;  // absolute paths; empty: the host's own roots
};

struct RegistryHosts {
  std::vector<RegistryHost> hosts;
  RegistryHost server;  // url empty: the reference's own
};

inline constexpr std::size_t kHostsBytesMax = 256U << 10;

// kInvalidArgument "line N: ...".
Result<RegistryHosts> parse_hosts(std::string_view toml);

// Blocking. Nothing where there is no file for the domain.
Result<RegistryHosts> read_hosts(const std::string& config_dir, const std::string& domain);

}  // namespace monopod::image
