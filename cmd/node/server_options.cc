#include "cmd/node/server_options.h"

namespace monopod::cmd {

void add_server_options(CLI::App& app, ServerOptions& o) {
  add_log_options(app);
  app.add_option("--data-dir", o.data_dir, "Everything that survives a reboot: database, images, pods")->envname("MONOPOD_DATA_DIR")->capture_default_str();
  app.add_option("--run-dir", o.run_dir, "What is gone after a reboot: sockets, mounts, namespaces")->envname("MONOPOD_RUN_DIR")->capture_default_str();
  app.add_option("--node-name", o.node_name, "Name of the Node object (default: the host's name)")->envname("MONOPOD_NODE_NAME");
  app.add_option("--listen", o.listen, "Address and port of the API server")->envname("MONOPOD_LISTEN")->capture_default_str();
  app.add_option("--tls-san", o.tls_sans, "Further name or address in the server's certificate; may be repeated")->envname("MONOPOD_TLS_SAN");
  app.add_option("--pod-cidr", o.pod_cidr, "Addresses of pods on this node")->envname("MONOPOD_POD_CIDR")->capture_default_str();
  app.add_option("--service-cidr", o.service_cidr, "Cluster addresses of services")->envname("MONOPOD_SERVICE_CIDR")->capture_default_str();
  app.add_option("--cluster-dns", o.cluster_dns, "Address of the cluster's DNS server, inside --service-cidr")->envname("MONOPOD_CLUSTER_DNS")->capture_default_str();
  app.add_option("--cluster-domain", o.cluster_domain, "DNS zone of the cluster")->envname("MONOPOD_CLUSTER_DOMAIN")->capture_default_str();
  app.add_option("--bridge", o.bridge, "Name of the pods' network bridge")->envname("MONOPOD_BRIDGE")->capture_default_str();
  add_layers_option(app, o.layers);
  app.add_option("--store-sync", o.store_sync, "always: lose nothing acknowledged; batch: a power cut may lose 10 ms; os: seconds")
      ->check(CLI::IsMember({"always", "batch", "os"}))->envname("MONOPOD_STORE_SYNC")->capture_default_str();
  app.add_option("--datastore-endpoint", o.datastore.endpoints, "Keep API objects in this etcd cluster: https://host:port,...; the node's own state stays in --data-dir")
      ->delimiter(',')->envname("MONOPOD_DATASTORE_ENDPOINT");
  app.add_option("--datastore-cafile", o.datastore.ca_file, "Authority of the cluster's certificates (PEM; default: the host's)")->envname("MONOPOD_DATASTORE_CAFILE");
  app.add_option("--datastore-certfile", o.datastore.cert_file, "Certificate to show to the cluster (PEM)")->envname("MONOPOD_DATASTORE_CERTFILE");
  app.add_option("--datastore-keyfile", o.datastore.key_file, "Its key (PEM)")->envname("MONOPOD_DATASTORE_KEYFILE");
  app.add_option("--datastore-user", o.datastore.user, "User of the cluster, where it has authentication on")->envname("MONOPOD_DATASTORE_USER");
  app.add_option("--datastore-password-file", o.datastore.password_file, "File that holds the user's password")->envname("MONOPOD_DATASTORE_PASSWORD_FILE");
  add_backup_options(app, o.backup, "MONOPOD_");
  app.add_option("--pod-manifests-dir", o.pod_manifests_dir, "Static pods: YAML files here run without the API")->envname("MONOPOD_POD_MANIFESTS_DIR")->capture_default_str();
  app.add_option("--token-file", o.token_file, "Static tokens: token,user,uid,\"group1,group2\" a line")->envname("MONOPOD_TOKEN_FILE");
  add_audit_options(app, o.audit);
  app.add_option("--pods-max", o.pods_max, "Pods this node takes")->check(CLI::Range(1, 10000))->envname("MONOPOD_PODS_MAX")->capture_default_str();
  app.add_option("--stop-timeout", o.stop_timeout_s, "Seconds pods get to end when the service stops")->check(CLI::Range(0, 3600))->envname("MONOPOD_STOP_TIMEOUT")->capture_default_str();
  app.add_flag("--disable-agent", o.disable_agent, "Run the control plane only: no pods on this host")->envname("MONOPOD_DISABLE_AGENT");
}

std::vector<std::string> node_arguments(const ServerOptions& o) {
  std::vector<std::string> out = {"monopod", "node"};
  auto add = [&out](const char* name, const std::string& value) {
    if (value.empty()) return;
    out.push_back(name);
    out.push_back(value);
  };
  add("--data-dir", o.data_dir);
  add("--run-dir", o.run_dir);
  add("--node-name", o.node_name);
  add("--listen", o.listen);
  for (const std::string& san : o.tls_sans) add("--tls-san", san);
  add("--pod-cidr", o.pod_cidr);
  add("--service-cidr", o.service_cidr);
  add("--cluster-dns", o.cluster_dns);
  add("--cluster-domain", o.cluster_domain);
  add("--bridge", o.bridge);
  add("--layers", o.layers);
  add("--store-sync", o.store_sync);
  for (const std::string& endpoint : o.datastore.endpoints) add("--datastore-endpoint", endpoint);
  add("--datastore-cafile", o.datastore.ca_file);
  add("--datastore-certfile", o.datastore.cert_file);
  add("--datastore-keyfile", o.datastore.key_file);
  add("--datastore-user", o.datastore.user);
  add("--datastore-password-file", o.datastore.password_file);
  if (!o.backup.dir.empty()) {
    add("--backup-dir", o.backup.dir);
    add("--backup-every", o.backup.every);
    add("--backup-keep", std::to_string(o.backup.keep));
  }
  add("--pod-manifests-dir", o.pod_manifests_dir);
  add("--token-file", o.token_file);
  if (!o.audit.log_path.empty()) {
    add("--audit-policy-file", o.audit.policy_file);
    add("--audit-log-path", o.audit.log_path);
    add("--audit-log-maxage", std::to_string(o.audit.log_age_days));
    add("--audit-log-maxbackup", std::to_string(o.audit.log_backups));
    add("--audit-log-maxsize", std::to_string(o.audit.log_megabytes));
  }
  add("--pods-max", std::to_string(o.pods_max));
  add("--stop-timeout", std::to_string(o.stop_timeout_s));
  if (o.disable_agent) out.push_back("--disable-agent");
  return out;
}

}  // namespace monopod::cmd
