// Every active namespace has a ServiceAccount "default" and the cluster's CA in a ConfigMap, without which pods cannot
// talk to the API server. Secrets of type kubernetes.io/service-account-token are filled, and go with their account.
#include "base/bytes.h"
#include "base/strings.h"
#include "controllers/controllers.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

// Keeps one object of a fixed name in every active namespace.
class PerNamespaceController : public QueueController {
 public:
  PerNamespaceController(const ControllerParts& parts, std::string name, client::Resource resource, std::string object_name)
      : QueueController(parts, std::move(name)),
        resource_(resource),
        object_name_(std::move(object_name)),
        namespaces_(parts.informers.informer(resources::kNamespaces)),
        objects_(parts.informers.informer(resource, {.field_selector = "metadata.name=" + object_name_})) {
    watch_keys(namespaces_);
    objects_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) { queue_.add((now ? now : old)->ns); });
  }

 protected:
  virtual json::Value wanted(const std::string& ns) const = 0;
  // Brings an existing object in line; nullopt where it is right already.
  virtual std::optional<json::Value> corrected(const client::Object&) const { return std::nullopt; }

  async::Task<Result<Outcome>> reconcile(std::string ns) override {
    ObjectPtr space = namespaces_.indexer().find(ns);
    if (!space || client::is_deleting(space->tree())) co_return Outcome{};
    if (ObjectPtr existing = objects_.indexer().find(ns + "/" + object_name_)) {
      std::optional<json::Value> correction = corrected(*existing);
      if (!correction) co_return Outcome{};
      auto updated = co_await parts_.api.update(resource_, ns, object_name_, std::move(*correction), {});
      if (!updated) co_return fail(updated.error());
      co_return Outcome{};
    }
    auto created = co_await parts_.api.create(resource_, ns, wanted(ns), {});
    if (!created && created.error().code() != Code::kAlreadyExists && created.error().code() != Code::kPermissionDenied) co_return fail(created.error());
    co_return Outcome{};
  }

  client::Resource resource_;
  std::string object_name_;
  client::Informer& namespaces_;
  client::Informer& objects_;
};

class ServiceAccountController final : public PerNamespaceController {
 public:
  explicit ServiceAccountController(const ControllerParts& parts) : PerNamespaceController(parts, "serviceaccount-controller", resources::kServiceAccounts, "default") {}

 private:
  json::Value wanted(const std::string& ns) const override {
    return json::Object{{"apiVersion", "v1"}, {"kind", "ServiceAccount"}, {"metadata", json::Object{{"name", "default"}, {"namespace", ns}}}};
  }
};

class RootCaPublisher final : public PerNamespaceController {
 public:
  explicit RootCaPublisher(const ControllerParts& parts) : PerNamespaceController(parts, "root-ca-certificate-publisher", resources::kConfigMaps, "kube-root-ca.crt") {}

 private:
  json::Value wanted(const std::string& ns) const override {
    return json::Object{{"apiVersion", "v1"},
                        {"kind", "ConfigMap"},
                        {"metadata", json::Object{{"name", "kube-root-ca.crt"}, {"namespace", ns}}},
                        {"data", json::Object{{"ca.crt", parts_.root_ca_pem}}}};
  }
  std::optional<json::Value> corrected(const client::Object& existing) const override {
    json::Value tree = existing.tree();
    if (json::get_string(tree, {"data", "ca.crt"}) == parts_.root_ca_pem) return std::nullopt;
    json::at_path(tree, {"data"}) = json::Object{{"ca.crt", parts_.root_ca_pem}};
    return tree;
  }
};

// The token of such a secret is bound to it and lasts as long as it: deleting the secret ends it.
class TokenSecrets final : public QueueController {
 public:
  explicit TokenSecrets(const ControllerParts& parts)
      : QueueController(parts, "tokens-controller"),
        secrets_(parts.informers.informer(resources::kSecrets)),
        accounts_(parts.informers.informer(resources::kServiceAccounts)) {
    secrets_.indexer().add_index(std::string(kAccountIndex), [](const client::Object& secret) { return account_of(secret); });
    secrets_.add_handler([this](const ObjectPtr&, const ObjectPtr& now) {
      if (now && now->bytes->find(kTokenType) != std::string::npos) queue_.add(now->key());
    });
    accounts_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) {
      if (old && now && old->uid == now->uid) return;
      for (const ObjectPtr& secret : secrets_.indexer().by_index(kAccountIndex, (now ? now : old)->key())) queue_.add(secret->key());
    });
  }

 private:
  static constexpr std::string_view kTokenType = "kubernetes.io/service-account-token";
  static constexpr std::string_view kAccountName = "kubernetes.io/service-account.name";
  static constexpr std::string_view kAccountUid = "kubernetes.io/service-account.uid";
  static constexpr std::string_view kAccountIndex = "service-account";
  static constexpr std::int64_t kSecondsMax = std::int64_t{1} << 32;  // the most a TokenRequest may ask for

  // "ns/name" of the account where the secret is of this type.
  static std::vector<std::string> account_of(const client::Object& secret) {
    if (secret.bytes->find(kTokenType) == std::string::npos) return {};
    json::Value tree = secret.tree();
    if (json::get_string(tree, {"type"}) != kTokenType) return {};
    return {cat(secret.ns, "/", json::get_string(tree, {"metadata", "annotations", kAccountName}))};
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    ObjectPtr secret = secrets_.indexer().find(key);
    if (!secret) co_return Outcome{};
    json::Value tree = secret->tree();
    if (json::get_string(tree, {"type"}) != kTokenType || client::is_deleting(tree)) co_return Outcome{};
    std::string name(json::get_string(tree, {"metadata", "annotations", kAccountName}));
    std::string_view uid = json::get_string(tree, {"metadata", "annotations", kAccountUid});
    auto account = co_await parts_.api.get(resources::kServiceAccounts, secret->ns, name);  // asks the server: what follows cannot be undone
    if (!account && account.error().code() != Code::kNotFound) co_return fail(account.error());
    if (!account || (!uid.empty() && uid != account->uid)) {
      Result<> removed = co_await parts_.api.remove(resources::kSecrets, secret->ns, secret->name, {.precondition_uid = secret->uid});
      if (!removed && removed.error().code() != Code::kNotFound) co_return fail(removed.error());
      co_return Outcome{};
    }
    std::string ca = format_base64(parts_.root_ca_pem), ns = format_base64(secret->ns);
    bool has_token = !json::get_string(tree, {"data", "token"}).empty();
    if (has_token && !uid.empty() && json::get_string(tree, {"data", "ca.crt"}) == ca && json::get_string(tree, {"data", "namespace"}) == ns) co_return Outcome{};
    if (!has_token) {
      json::Value request = json::Object{{"apiVersion", "authentication.k8s.io/v1"},
                                         {"kind", "TokenRequest"},
                                         {"spec", json::Object{{"expirationSeconds", kSecondsMax},
                                                               {"boundObjectRef", json::Object{{"apiVersion", "v1"}, {"kind", "Secret"}, {"name", secret->name}, {"uid", secret->uid}}}}}};
      CO_TRY_ASSIGN(json::Value answer, co_await parts_.api.post(resources::kServiceAccounts, secret->ns, name, "token", std::move(request)));
      json::at_path(tree, {"data", "token"}) = format_base64(json::get_string(answer, {"status", "token"}));
    }
    json::at_path(tree, {"data", "ca.crt"}) = ca;
    json::at_path(tree, {"data", "namespace"}) = ns;
    json::at_path(tree, {"metadata", "annotations", kAccountUid}) = account->uid;
    auto updated = co_await parts_.api.update(resources::kSecrets, secret->ns, secret->name, std::move(tree), {});
    if (!updated && updated.error().code() != Code::kNotFound) co_return fail(updated.error());
    co_return Outcome{};
  }

  client::Informer& secrets_;
  client::Informer& accounts_;
};

}  // namespace

std::unique_ptr<Controller> make_token_secret_controller(const ControllerParts& parts) { return std::make_unique<TokenSecrets>(parts); }
std::unique_ptr<Controller> make_serviceaccount_controller(const ControllerParts& parts) { return std::make_unique<ServiceAccountController>(parts); }
std::unique_ptr<Controller> make_root_ca_publisher(const ControllerParts& parts) { return std::make_unique<RootCaPublisher>(parts); }

}  // namespace monopod::controllers
