// Namespace deletion: empties a namespace that is being deleted, says in its conditions what holds that up, then takes the "kubernetes" finalizer off.
#include <map>

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
  // What one pass over a namespace left behind.
  struct Left {
    std::map<std::string, std::size_t> objects;     // by "plural.group"
    std::map<std::string, std::size_t> finalizers;
    std::vector<std::string> failures;
  };

  // Deletes what the namespace holds of one resource; counts the objects that remain (being deleted).
  async::Task<Result<>> empty(client::Resource resource, std::string ns, Left& left) {
    CO_TRY_ASSIGN(client::ObjectList list, co_await parts_.api.list(resource, {.ns = ns}));
    for (const client::Object& object : list.items) {
      Result<> removed = co_await parts_.api.remove(resource, object.ns, object.name, {.propagation_policy = "Background"});
      if (!removed && removed.error().code() == Code::kCancelled) co_return removed;
      if (!removed && removed.error().code() != Code::kNotFound) left.failures.push_back(removed.error().message());
      auto still = co_await parts_.api.get(resource, object.ns, object.name);
      if (!still) continue;
      ++left.objects[cat(resource.plural, ".", resource.group)];
      const json::Value tree = still->tree();
      const json::Array* finalizers = json::get_array(tree, {"metadata", "finalizers"});
      for (std::size_t i = 0; finalizers != nullptr && i < finalizers->size(); ++i)
        if ((*finalizers)[i].is_string()) ++left.finalizers[std::string((*finalizers)[i].get_string())];
    }
    co_return Result<>();
  }

  static std::string counted(const std::map<std::string, std::size_t>& counts, std::string_view between) {
    std::vector<std::string> parts;
    for (const auto& [name, count] : counts) parts.push_back(cat(name, between, count, " resource instances"));
    return join(parts, ", ");
  }

  // The five conditions of a namespace that does not go at once.
  async::Task<Result<>> say(const std::string& name, const Left& left) {
    auto current = co_await parts_.api.get(resources::kNamespaces, "", name);
    if (!current) co_return current.error().code() == Code::kNotFound ? Result<>() : fail(current.error());
    json::Value tree = current->tree();
    json::Value& status = tree.get_object()["status"];
    WallTime now = parts_.time.wall();
    bool changed = false;
    auto set = [&](std::string_view type, bool holds, std::string_view reason, std::string message) {
      changed |= client::set_condition(status, {{"type", type}, {"status", holds ? "True" : "False"}, {"reason", reason}, {"message", std::move(message)}}, now);
    };
    bool failed = !left.failures.empty(), objects = !left.objects.empty(), finalizers = !left.finalizers.empty();
    set("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", "All resources successfully discovered");
    set("NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions", "All legacy kube types successfully parsed");
    set("NamespaceDeletionContentFailure", failed, failed ? "ContentDeletionFailed" : "ContentDeleted",
        failed ? cat("Failed to delete all resource types, ", left.failures.size(), " remaining: ", join(left.failures, ", "))
               : "All content successfully deleted, may be waiting on finalization");
    set("NamespaceContentRemaining", objects, objects ? "SomeResourcesRemain" : "ContentRemoved",
        objects ? cat("Some resources are remaining: ", counted(left.objects, " has ")) : "All content successfully removed");
    set("NamespaceFinalizersRemaining", finalizers, finalizers ? "SomeFinalizersRemain" : "ContentHasNoFinalizers",
        finalizers ? cat("Some content in the namespace has finalizers remaining: ", counted(left.finalizers, " in ")) : "All content-preserving finalizers finished");
    if (!changed) co_return Result<>();
    auto written = co_await parts_.api.update(resources::kNamespaces, "", name, std::move(tree), {.subresource = "status"});
    if (!written && written.error().code() != Code::kNotFound && written.error().code() != Code::kAborted) co_return fail(written.error());
    co_return Result<>();
  }

  async::Task<Result<Outcome>> reconcile(std::string name) override {
    ObjectPtr cached = namespaces_.indexer().find(name);
    if (!cached) co_return Outcome{};
    json::Value tree = cached->tree();
    if (!client::is_deleting(tree)) co_return Outcome{};
    Left left;
    for (const client::Resource& resource : parts_.deletable_resources())
      if (resource.namespaced) CO_TRY(co_await empty(resource, name, left));
    if (!left.objects.empty() || !left.failures.empty()) {
      CO_TRY(co_await say(name, left));
      if (!left.failures.empty()) co_return fail(Code::kUnavailable, left.failures.front());
      co_return Outcome{.requeue_after = std::chrono::milliseconds(500)};  // pods are stopping gracefully
    }
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
