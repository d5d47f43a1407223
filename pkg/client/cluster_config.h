// Where an API server is and who we are there: a kubeconfig (k8s.io/client-go's clientcmd v1.Config), or what a pod is given.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"

namespace monopod::client {

struct ClusterConfig {
  std::string server;           // "https://10.43.0.1:443"
  std::string ca_pem;           // empty: the host's authorities
  std::string certificate_pem;  // with key_pem: the client's certificate
  std::string key_pem;
  std::string token;
  std::string token_file;       // read again as it changes; its content is what counts, not token
  std::string tls_server_name;
  std::string ns = "default";   // of the context, or of the pod
  bool insecure_skip_verify = false;
};

// Whole content of a file, by its absolute path; whoever may touch the disk hands it in.
using ReadFile = std::function<Result<std::string>(const std::string& path)>;

// The text of a kubeconfig; context empty: the current one. Relative paths in it are below folder. kInvalidArgument names what is missing, or what is not
// supported: exec and auth-provider plugins, passwords, proxies.
Result<ClusterConfig> parse_kubeconfig(std::string_view text, std::string_view context, const std::string& folder, const ReadFile& read_file);

// Token, authority and namespace under /var/run/secrets/kubernetes.io/serviceaccount, the server from KUBERNETES_SERVICE_HOST and _PORT as they are
// handed in. kFailedPrecondition outside a pod.
Result<ClusterConfig> in_cluster_config(std::string_view service_host, std::string_view service_port, const ReadFile& read_file);

}  // namespace monopod::client
