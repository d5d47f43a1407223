// Namespace deletion: empties a namespace that is being deleted, then takes the "kubernetes" finalizer off.
#include "base/strings.h"
#include "controllers/controllers.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

class NamespaceController final : public QueueController {
 public:
  explicit NamespaceController(const ControllerParts& parts)
      : QueueController(parts, "namespace-controller"), namespaces_(parts.informers.informer(resources::kNamespaces)) {
    namespaces_.add_handler([this](const ObjectPtr&, const ObjectPtr& now) {
      if (now && now->bytes->find("\"deletionTimestamp\"") != std::string::npos) queue_.add(now->key());
    });
  }

 private:
  // Deletes what the namespace holds of one resource; returns how many objects remain (being deleted).
  async::Task<Result<std::size_t>> empty(client::Resource resource, std::string ns) {
    CO_TRY_ASSIGN(client::ObjectList list, co_await parts_.api.list(resource, {.ns = ns}));
    std::size_t remaining = 0;
    for (const client::Object& object : list.items) {
      Result<> removed = co_await parts_.api.remove(resource, object.ns, object.name, {.propagation_policy = "Background"});
      if (!removed && removed.error().code() != Code::kNotFound) co_return fail(removed.error());
      auto still = co_await parts_.api.get(resource, object.ns, object.name);
      if (still) ++remaining;
    }
    co_return remaining;
  }

  async::Task<Result<Outcome>> reconcile(std::string name) override {
    ObjectPtr cached = namespaces_.indexer().find(name);
    if (!cached) co_return Outcome{};
    json::Value tree = cached->tree();
    if (!client::is_deleting(tree)) co_return Outcome{};
    std::size_t remaining = 0;
    for (const client::Resource& resource : parts_.deletable_resources()) {
      if (!resource.namespaced) continue;
      CO_TRY_ASSIGN(std::size_t left, co_await empty(resource, name));
      remaining += left;
    }
    if (remaining > 0) co_return Outcome{.requeue_after = std::chrono::milliseconds(500)};  // pods are stopping gracefully
    CO_TRY_ASSIGN(client::Object current, co_await parts_.api.get(resources::kNamespaces, "", name));
    json::Value finalized = current.tree();
    json::Array kept;
    if (const json::Array* finalizers = json::get_array(finalized, {"spec", "finalizers"}))
      for (const json::Value& f : *finalizers)
        if (!f.is_string() || std::string_view(f.get_string()) != "kubernetes") kept.push_back(f);
    json::at_path(finalized, {"spec", "finalizers"}) = std::move(kept);
    auto written = co_await parts_.api.update(resources::kNamespaces, "", name, std::move(finalized), {.subresource = "finalize"});
    if (!written && written.error().code() != Code::kNotFound) co_return fail(written.error());
    co_return Outcome{};
  }

  client::Informer& namespaces_;
};

}  // namespace

std::unique_ptr<Controller> make_namespace_controller(const ControllerParts& parts) { return std::make_unique<NamespaceController>(parts); }

}  // namespace monopod::controllers
