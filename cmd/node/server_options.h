// The options of `monopod server`, shared with the node process that it starts.
#pragma once

#include <string>
#include <vector>

#include "cmd/command.h"
#include "cmd/node/audit.h"
#include "cmd/node/backup_options.h"

namespace monopod::cmd {

// An external etcd cluster.
struct DatastoreOptions {
  std::vector<std::string> endpoints;  // empty: none
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
  std::string user;
  std::string password_file;
};

struct ServerOptions {
  std::string data_dir = "/var/lib/monopod";
  std::string run_dir = "/run/monopod";
  std::string node_name;  // empty: the host's name
  std::string listen = "0.0.0.0:6443";
  std::vector<std::string> tls_sans;  // further names and addresses in the server's certificate
  std::string pod_cidr = "10.42.0.0/24";
  std::string service_cidr = "10.43.0.0/16";
  std::string cluster_dns = "10.43.0.10";
  std::string cluster_domain = "cluster.local";
  std::string bridge = "monopod0";
  std::string layers = "directory";
  std::string store_sync = "always";
  DatastoreOptions datastore;
  std::string pod_manifests_dir = "/etc/monopod/manifests";
  std::string token_file;
  int pods_max = 110;
  int stop_timeout_s = 30;
  bool disable_agent = false;
  BackupOptions backup;
  AuditOptions audit;
};

void add_server_options(CLI::App& app, ServerOptions& options);
// The command line of the node process with these options.
std::vector<std::string> node_arguments(const ServerOptions& options);

}  // namespace monopod::cmd
