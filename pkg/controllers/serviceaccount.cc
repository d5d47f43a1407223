// Every active namespace has a ServiceAccount "default" and the cluster's CA in a ConfigMap, without which pods cannot
// talk to the API server.
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

}  // namespace

std::unique_ptr<Controller> make_serviceaccount_controller(const ControllerParts& parts) { return std::make_unique<ServiceAccountController>(parts); }
std::unique_ptr<Controller> make_root_ca_publisher(const ControllerParts& parts) { return std::make_unique<RootCaPublisher>(parts); }

}  // namespace monopod::controllers
