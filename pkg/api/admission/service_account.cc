// ServiceAccount: every pod has one, its account exists, and its token, the cluster's CA and its namespace are mounted where
// clients look for them.
#include "api/admission/plugins.h"
#include "api/admission/pod_specs.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kMountPath = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr std::int64_t kTokenSeconds = 3607;

json::Value token_volume(std::string_view name) {
  json::Array sources;
  sources.push_back(json::Object{{"serviceAccountToken", json::Object{{"expirationSeconds", kTokenSeconds}, {"path", "token"}}}});
  sources.push_back(json::Object{{"configMap", json::Object{{"items", json::Array{json::Object{{"key", "ca.crt"}, {"path", "ca.crt"}}}},
                                                            {"name", "kube-root-ca.crt"}}}});
  sources.push_back(json::Object{
      {"downwardAPI", json::Object{{"items", json::Array{json::Object{{"fieldRef", json::Object{{"apiVersion", "v1"}, {"fieldPath", "metadata.namespace"}}},
                                                                     {"path", "namespace"}}}}}}});
  return json::Object{{"name", name}, {"projected", json::Object{{"defaultMode", 420}, {"sources", std::move(sources)}}}};
}

bool mounts_token(const json::Value& container) {
  if (const json::Array* mounts = json::get_array(container, {"volumeMounts"}))
    for (const json::Value& mount : *mounts)
      if (json::get_string(mount, {"mountPath"}) == kMountPath) return true;
  return false;
}

class ServiceAccount final : public AdmissionPlugin {
 public:
  ServiceAccount(CacheSet& caches, Rng& rng) : caches_(caches), rng_(rng) {}
  std::string_view name() const override { return "ServiceAccount"; }
  bool handles(const AdmissionRequest& request) const override {
    return request.operation == Operation::kCreate && request.is("", "pods") && request.subresource.empty();
  }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    json::Value& pod = *request.object;
    if (json::find(pod, {"metadata", "annotations", "kubernetes.io/config.mirror"}) != nullptr) co_return Outcome<>();
    std::string account(json::get_string(pod, {"spec", "serviceAccountName"}));
    if (account.empty()) account = "default";
    json::at_path(pod, {"spec", "serviceAccountName"}) = account;
    json::at_path(pod, {"spec", "serviceAccount"}) = account;
    WatchCache* accounts = caches_.find("", "serviceaccounts");
    ObjectPtr found = accounts->find(cat(request.ns, '/', account));
    if (!found) {
      CO_OUT(co_await caches_.fresh());
      found = accounts->find(cat(request.ns, '/', account));
    }
    if (!found)
      co_return refuse(forbidden(request.ref(), request.name, cat("error looking up service account ", request.ns, "/", account,
                                                                  ": serviceaccount \"", account, "\" not found")));
    json::Value tree = found->tree();
    add_pull_secrets(pod, tree);
    if (wants_token(pod, tree)) add_token(pod);
    co_return Outcome<>();
  }

 private:
  static bool wants_token(const json::Value& pod, const json::Value& account) {
    if (const json::Value* said = json::find(pod, {"spec", "automountServiceAccountToken"}); said != nullptr && said->is_bool()) return said->get_bool();
    return json::get_bool(account, {"automountServiceAccountToken"}, true);
  }

  static void add_pull_secrets(json::Value& pod, const json::Value& account) {
    const json::Array* secrets = json::get_array(account, {"imagePullSecrets"});
    if (secrets == nullptr || secrets->empty() || json::get_array(pod, {"spec", "imagePullSecrets"}) != nullptr) return;
    json::at_path(pod, {"spec", "imagePullSecrets"}) = *secrets;
  }

  void add_token(json::Value& pod) {
    std::string volume = cat("kube-api-access-", rng_.name_suffix(5));
    bool used = false;
    each_container(pod, [&](json::Value& container, std::string_view list) {
      if (list == "ephemeralContainers" || mounts_token(container)) return;
      array_at(container, {"volumeMounts"}).push_back(json::Object{{"mountPath", kMountPath}, {"name", volume}, {"readOnly", true}});
      used = true;
    });
    if (used) array_at(pod, {"spec", "volumes"}).push_back(token_volume(volume));
  }

  CacheSet& caches_;
  Rng& rng_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_service_account(const AdmissionParts& parts) {
  return std::make_unique<ServiceAccount>(parts.caches, parts.rng);
}

}  // namespace monopod::api
