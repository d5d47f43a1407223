#include "client/cluster_config.h"

#include "base/bytes.h"
#include "base/strings.h"
#include "codec/yaml.h"

namespace monopod::client {
namespace {

constexpr std::string_view kAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount/";

// The member `kind` of the entry of that name in the list.
Result<json::Value> find_named(const json::Value& config, std::string_view list, std::string_view kind, std::string_view name) {
  if (const json::Array* entries = json::get_array(config, {list}))
    for (const json::Value& entry : *entries)
      if (json::get_string(entry, {"name"}) == name) {
        const json::Value* value = json::find(entry, {kind});
        return value == nullptr ? json::Value(json::Object()) : *value;
      }
  return fail(Code::kInvalidArgument, cat("kubeconfig: no ", kind, " \"", name, "\""));
}

// NAME-data, or the file that NAME says.
Result<std::string> material(const json::Value& from, std::string_view name, const std::string& folder, const ReadFile& read_file) {
  std::string_view data = json::get_string(from, {cat(name, "-data")});
  if (!data.empty()) {
    std::optional<std::string> bytes = parse_base64(data);
    if (!bytes) return fail(Code::kInvalidArgument, cat("kubeconfig: ", name, "-data is not base64"));
    return std::move(*bytes);
  }
  std::string path(json::get_string(from, {name}));
  if (path.empty()) return std::string();
  if (!path.starts_with('/')) path = cat(folder, '/', path);
  Result<std::string> content = read_file(path);
  if (!content) return fail(std::move(content).error().with(cat("kubeconfig: ", name)));
  return content;
}

}  // namespace

Result<ClusterConfig> parse_kubeconfig(std::string_view text, std::string_view context, const std::string& folder, const ReadFile& read_file) {
  Result<json::Value> config = yaml::parse(text);
  if (!config) return fail(std::move(config).error().with("kubeconfig"));
  std::string chosen(context.empty() ? json::get_string(*config, {"current-context"}) : context);
  if (chosen.empty()) return fail(Code::kInvalidArgument, "kubeconfig: no current-context, and none was chosen");
  TRY_ASSIGN(json::Value names, find_named(*config, "contexts", "context", chosen));
  TRY_ASSIGN(json::Value cluster, find_named(*config, "clusters", "cluster", json::get_string(names, {"cluster"})));
  TRY_ASSIGN(json::Value user, find_named(*config, "users", "user", json::get_string(names, {"user"})));
  for (std::string_view member : {"exec", "auth-provider", "username", "password"})
    if (json::find(user, {member}) != nullptr) return fail(Code::kInvalidArgument, cat("kubeconfig: user ", json::get_string(names, {"user"}), ": ", member, " is not supported"));
  if (!json::get_string(cluster, {"proxy-url"}).empty()) return fail(Code::kInvalidArgument, "kubeconfig: proxy-url is not supported");
  ClusterConfig out;
  out.server = json::get_string(cluster, {"server"});
  if (out.server.empty()) return fail(Code::kInvalidArgument, cat("kubeconfig: cluster ", json::get_string(names, {"cluster"}), ": no server"));
  TRY_ASSIGN(out.ca_pem, material(cluster, "certificate-authority", folder, read_file));
  TRY_ASSIGN(out.certificate_pem, material(user, "client-certificate", folder, read_file));
  TRY_ASSIGN(out.key_pem, material(user, "client-key", folder, read_file));
  out.tls_server_name = json::get_string(cluster, {"tls-server-name"});
  out.insecure_skip_verify = json::get_bool(cluster, {"insecure-skip-tls-verify"});
  out.token = json::get_string(user, {"token"});
  out.token_file = json::get_string(user, {"tokenFile"});
  if (!out.token_file.empty() && !out.token_file.starts_with('/')) out.token_file = cat(folder, '/', out.token_file);
  if (std::string_view ns = json::get_string(names, {"namespace"}); !ns.empty()) out.ns = ns;
  return out;
}

Result<ClusterConfig> in_cluster_config(std::string_view service_host, std::string_view service_port, const ReadFile& read_file) {
  if (service_host.empty() || service_port.empty())
    return fail(Code::kFailedPrecondition, "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined");
  ClusterConfig out;
  bool six = service_host.find(':') != std::string_view::npos;
  out.server = cat("https://", six ? "[" : "", service_host, six ? "]" : "", ':', service_port);
  out.token_file = cat(kAccountFolder, "token");
  TRY_ASSIGN(out.ca_pem, read_file(cat(kAccountFolder, "ca.crt")));
  if (Result<std::string> ns = read_file(cat(kAccountFolder, "namespace")); ns && !trim(*ns).empty()) out.ns = trim(*ns);
  return out;
}

}  // namespace monopod::client
