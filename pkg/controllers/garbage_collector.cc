// Garbage collection by ownerReferences: an object whose owners are all gone goes too; foreground and orphan deletion of owners.
//
//   informer events ─► graph: object uid → its owners, owner uid → its dependents
//   an owner disappears ─► its dependents are looked at: no living owner left ─► delete
//   an owner waits with finalizer foregroundDeletion ─► dependents are deleted first, then the finalizer goes
//   an owner waits with finalizer orphan ─► dependents lose the reference, then the finalizer goes
//
// Only objects that name owners are kept in the graph, so a cluster of ConfigMaps costs nothing here.
#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"
#include "controllers/controllers.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;

constexpr std::string_view kForeground = "foregroundDeletion";
constexpr std::string_view kOrphan = "orphan";

struct Node {
  client::Resource resource;
  std::string ns;
  std::string name;
  std::vector<client::OwnerReference> owners;
  bool waits = false;  // for its dependents to go
};

class GarbageCollector final : public QueueController {
 public:
  explicit GarbageCollector(const ControllerParts& parts) : QueueController(parts, "garbage-collector", 4) {
    for (const client::Resource& resource : parts.deletable_resources()) {
      if (resource.plural == "events" || resource.plural == "leases") continue;  // never owned, often written
      follow(resource);
    }
    if (parts.on_custom_kind) custom_kinds_ = parts.on_custom_kind([this](const client::Resource& resource, bool served) { on_kind(resource, served); });
  }

 private:
  void follow(const client::Resource& resource) {
    client::Informer& informer = parts_.informers.informer(resource);
    informers_.push_back(&informer);
    if (std::ranges::find(handled_, &informer) != handled_.end()) return;  // served, gone and served again
    handled_.push_back(&informer);
    informer.add_handler([this, resource](const ObjectPtr& old, const ObjectPtr& now) { on_change(resource, old, now); });
  }

  void on_kind(const client::Resource& resource, bool served) {
    auto known = std::ranges::find_if(informers_, [&](client::Informer* informer) { return informer->resource() == resource; });
    if (served && known == informers_.end()) follow(resource);
    if (served || known == informers_.end()) return;
    informers_.erase(known);
    parts_.informers.drop(resource);
  }

  void on_change(const client::Resource& resource, const ObjectPtr& old, const ObjectPtr& now) {
    const client::Object& object = *(now ? now : old);
    if (!now || (old && old->uid != now->uid)) {
      remove(old->uid);
      enqueue_dependents(old->uid);
      if (!now) return;
    }
    bool owned = object.bytes->find("\"ownerReferences\"") != std::string::npos;
    bool finalizing = object.bytes->find("\"deletionTimestamp\"") != std::string::npos && object.bytes->find("\"finalizers\"") != std::string::npos;
    if (!owned && !finalizing) return remove(object.uid);
    json::Value tree = object.tree();
    put(object.uid, {resource, object.ns, object.name, client::owners_of(tree), client::is_deleting(tree) && client::has_finalizer(tree, kForeground)});
    queue_.add(object.uid);
  }

  void put(const std::string& uid, Node node) {
    remove(uid);
    for (const client::OwnerReference& owner : node.owners) dependents_[owner.uid].insert(uid);
    nodes_[uid] = std::move(node);
  }

  void remove(const std::string& uid) {
    auto it = nodes_.find(uid);
    if (it == nodes_.end()) return;
    std::vector<client::OwnerReference> owners = std::move(it->second.owners);
    nodes_.erase(it);
    for (const client::OwnerReference& owner : owners) {
      auto of = dependents_.find(owner.uid);
      if (of == dependents_.end()) continue;
      of->second.erase(uid);
      if (of->second.empty()) dependents_.erase(of);
      queue_.add(owner.uid);  // it may wait for its last dependent
    }
  }

  void enqueue_dependents(const std::string& uid) {
    if (auto it = dependents_.find(uid); it != dependents_.end())
      for (const std::string& dependent : it->second) queue_.add(dependent);
  }

  const client::Resource* resource_of(std::string_view api_version, std::string_view kind) const {
    for (client::Informer* informer : informers_)
      if (informer->resource().kind == kind && informer->resource().api_version() == api_version) return &informer->resource();
    // An owner may be named in another version of its group.
    std::string_view group = api_version.find('/') == std::string_view::npos ? std::string_view() : api_version.substr(0, api_version.find('/'));
    for (client::Informer* informer : informers_)
      if (informer->resource().kind == kind && informer->resource().group == group) return &informer->resource();
    return nullptr;
  }

  enum class OwnerState { kAlive, kGone, kForegroundDeleting };

  // Asks the server, not the cache: deleting by mistake cannot be undone.
  async::Task<Result<OwnerState>> state_of(client::OwnerReference owner, std::string ns) {
    const client::Resource* resource = resource_of(owner.api_version, owner.kind);
    if (resource == nullptr) co_return OwnerState::kAlive;  // a kind we do not know is not ours to judge
    auto object = co_await parts_.api.get(*resource, resource->namespaced ? ns : "", owner.name);
    if (!object && object.error().code() == Code::kNotFound) co_return OwnerState::kGone;
    if (!object) co_return fail(object.error());
    if (object->uid != owner.uid) co_return OwnerState::kGone;  // same name, another life
    json::Value tree = object->tree();
    bool waits = client::is_deleting(tree) && client::has_finalizer(tree, kForeground);
    co_return waits ? OwnerState::kForegroundDeleting : OwnerState::kAlive;
  }

  async::Task<Result<Outcome>> reconcile(std::string uid) override {
    auto it = nodes_.find(uid);
    if (it == nodes_.end()) co_return Outcome{};
    Node node = it->second;
    auto object = co_await parts_.api.get(node.resource, node.ns, node.name);
    if (!object) {
      if (object.error().code() == Code::kNotFound) co_return Outcome{};
      co_return fail(object.error());
    }
    if (object->uid != uid) co_return Outcome{};
    json::Value tree = object->tree();
    if (client::is_deleting(tree)) {
      if (client::has_finalizer(tree, kOrphan)) co_return co_await finish_orphan(node, *object, tree);
      if (client::has_finalizer(tree, kForeground)) co_return co_await finish_foreground(node, *object, tree);
      co_return Outcome{};
    }
    co_return co_await collect(node, *object, tree);
  }

  async::Task<Result<Outcome>> collect(const Node& node, const client::Object& object, const json::Value& tree) {
    std::vector<client::OwnerReference> owners = client::owners_of(tree);
    if (owners.empty()) co_return Outcome{};
    bool alive = false;
    bool foreground = false;
    std::set<std::string> leaving;  // owners that are gone or wait for us to go
    for (const client::OwnerReference& owner : owners) {
      CO_TRY_ASSIGN(OwnerState state, co_await state_of(owner, node.ns));
      alive |= state == OwnerState::kAlive;
      foreground |= state == OwnerState::kForegroundDeleting;
      if (state != OwnerState::kAlive) leaving.insert(owner.uid);
    }
    if (alive && leaving.empty()) co_return Outcome{};
    if (alive) co_return co_await drop_owners(node, object, tree, leaving);
    std::string version = object.resource_version;
    if (foreground && closes_circle(object.uid)) {
      CO_TRY_ASSIGN(version, co_await unblock(node, object, tree));
    }
    Result<> removed = co_await parts_.api.remove(node.resource, node.ns, node.name,
                                                  {.propagation_policy = foreground ? "Foreground" : "Background",
                                                   .precondition_uid = object.uid,
                                                   .precondition_resource_version = version});
    if (!removed && removed.error().code() != Code::kNotFound) co_return fail(removed.error());
    co_return Outcome{};
  }

  // A dependent of ours waits for its own dependents already: they may be us.
  bool closes_circle(const std::string& uid) const {
    auto it = dependents_.find(uid);
    return it != dependents_.end() && std::ranges::any_of(it->second, [this](const std::string& dependent) {
             auto node = nodes_.find(dependent);
             return node != nodes_.end() && node->second.waits;
           });
  }

  // Nobody waits for this object any longer: objects that own each other in a circle would wait forever. Returns its new version.
  async::Task<Result<std::string>> unblock(const Node& node, const client::Object& object, const json::Value& tree) {
    json::Array owners;
    if (const json::Array* old = json::get_array(tree, {"metadata", "ownerReferences"})) owners = *old;
    for (json::Value& owner : owners)
      if (owner.is_object()) owner.get_object()["blockOwnerDeletion"] = false;
    json::Value patch = json::Object{{"metadata", json::Object{{"uid", object.uid}, {"resourceVersion", object.resource_version}, {"ownerReferences", std::move(owners)}}}};
    CO_TRY_ASSIGN(client::Object patched, co_await parts_.api.patch(node.resource, node.ns, node.name, client::PatchType::kMerge, std::move(patch), {}));
    co_return patched.resource_version;
  }

  async::Task<Result<Outcome>> finish_foreground(const Node& node, const client::Object& object, const json::Value& tree) {
    bool blocked = false;
    std::set<std::string> uids;
    if (auto it = dependents_.find(object.uid); it != dependents_.end()) uids = it->second;
    for (const std::string& uid : uids) {
      auto dependent = nodes_.find(uid);
      if (dependent == nodes_.end()) continue;
      if (!dependent->second.waits) queue_.add(uid);
      for (const client::OwnerReference& owner : dependent->second.owners)
        if (owner.uid == object.uid && owner.block_owner_deletion) blocked = true;
    }
    if (blocked) co_return Outcome{};
    co_return co_await drop_finalizer(node, tree, kForeground);
  }

  async::Task<Result<Outcome>> finish_orphan(const Node& node, const client::Object& object, const json::Value& tree) {
    std::set<std::string> uids;
    if (auto it = dependents_.find(object.uid); it != dependents_.end()) uids = it->second;
    for (const std::string& uid : uids) {
      auto dependent = nodes_.find(uid);
      if (dependent == nodes_.end()) continue;
      Node target = dependent->second;
      auto live = co_await parts_.api.get(target.resource, target.ns, target.name);
      if (!live && live.error().code() == Code::kNotFound) continue;
      CO_TRY(live);
      CO_TRY(co_await drop_owners(target, *live, live->tree(), {object.uid}));
    }
    co_return co_await drop_finalizer(node, tree, kOrphan);
  }

  async::Task<Result<Outcome>> drop_owners(Node node, client::Object object, json::Value tree, std::set<std::string> uids) {
    json::Array kept;  // the whole list, since custom kinds take no strategic merge
    if (const json::Array* owners = json::get_array(tree, {"metadata", "ownerReferences"}))
      for (const json::Value& owner : *owners)
        if (!uids.contains(std::string(json::get_string(owner, {"uid"})))) kept.push_back(owner);
    json::Value patch = json::Object{{"metadata", json::Object{{"uid", object.uid}, {"resourceVersion", object.resource_version}, {"ownerReferences", std::move(kept)}}}};
    auto patched = co_await parts_.api.patch(node.resource, node.ns, node.name, client::PatchType::kMerge, std::move(patch), {});
    if (!patched && patched.error().code() != Code::kNotFound) co_return fail(patched.error());
    co_return Outcome{};
  }

  async::Task<Result<Outcome>> drop_finalizer(const Node& node, const json::Value& tree, std::string_view finalizer) {
    json::Array kept;
    for (const json::Value& f : *json::get_array(tree, {"metadata", "finalizers"}))
      if (std::string_view(f.get_string()) != finalizer) kept.push_back(f);
    json::Value patch = json::Object{{"metadata", json::Object{{"resourceVersion", json::get_string(tree, {"metadata", "resourceVersion"})}, {"finalizers", std::move(kept)}}}};
    auto patched = co_await parts_.api.patch(node.resource, node.ns, node.name, client::PatchType::kMerge, std::move(patch), {});
    if (!patched && patched.error().code() != Code::kNotFound) co_return fail(patched.error());
    co_return Outcome{};
  }

  std::vector<client::Informer*> informers_;                // of what is served
  std::vector<client::Informer*> handled_;                  // with a handler of ours
  std::shared_ptr<void> custom_kinds_;                       // as long as it is held, on_kind() is called
  std::map<std::string, Node> nodes_;                       // by uid
  std::map<std::string, std::set<std::string>> dependents_;  // owner uid -> dependents' uids
};

}  // namespace

std::unique_ptr<Controller> make_garbage_collector(const ControllerParts& parts) { return std::make_unique<GarbageCollector>(parts); }

}  // namespace monopod::controllers
