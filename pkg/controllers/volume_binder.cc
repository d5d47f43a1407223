// Claims get volumes and volumes lose their claims: binding, provisioning, reclaiming. Source: the observable behaviour of
// kube-controller-manager's persistentvolume-controller (phases, annotations, events and their words); KEP-2644, KEP-3333 (a class that becomes the
// default later), KEP-3762 (time of the last phase).
//
//   claim:  Pending ──bind──► Bound ──its volume is gone──► Lost
//   volume: Pending ─► Available ──bind──► Bound ──its claim is gone──► Released ──Delete──► gone
//                                                                          └──it cannot be done──► Failed
//
// Binding is four writes: the volume's claimRef, its phase, the claim's volumeName, its phase. The first decides; whoever comes after a death in
// the middle finds a volume reserved for the claim and goes on. One worker: two claims never look for a volume at the same time.
#include <map>

#include "api/quantity/quantity.h"
#include "base/strings.h"
#include "controllers/pods.h"
#include "controllers/volumes.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;
namespace annotations = client::annotations;

constexpr std::chrono::minutes kSayAgain{5};  // what a claim waits for, as long as it does: events go after an hour

std::string claim_of(const json::Value& volume) {
  std::string_view name = json::get_string(volume, {"spec", "claimRef", "name"});
  return name.empty() ? std::string() : cat(json::get_string(volume, {"spec", "claimRef", "namespace"}), "/", name);
}

void annotate(json::Value& object, std::string_view name, std::string_view value) { json::at_path(object, {"metadata", "annotations", name}) = value; }

std::string_view phase_of_object(const json::Value& object) { return json::get_string(object, {"status", "phase"}); }

class VolumeBinder final : public QueueController {
 public:
  explicit VolumeBinder(const ControllerParts& parts)
      : QueueController(parts, "persistentvolume-controller", 1),
        claims_(parts.informers.informer(resources::kPersistentVolumeClaims)),
        volumes_(parts.informers.informer(resources::kPersistentVolumes)),
        classes_(parts.informers.informer(resources::kStorageClasses)),
        pods_(parts.informers.informer(resources::kPods)),
        provisioner_(parts.api, parts.volumes) {
    claims_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) { on_claim(old, now); });
    volumes_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) { on_volume(old, now); });
    classes_.add_handler([this](const ObjectPtr&, const ObjectPtr&) { wake_pending(); });
  }

 private:
  // --- news: a key with a slash is a claim's, one without a volume's
  void on_claim(const ObjectPtr& old, const ObjectPtr& now) {
    const client::Object& claim = now ? *now : *old;
    queue_.add(claim.key());
    std::string volume(json::get_string(claim.tree(), {"spec", "volumeName"}));
    if (!volume.empty()) queue_.add(std::move(volume));
    else if (!now)
      for (const ObjectPtr& one : volumes_.indexer().list())
        if (claim_of(one->tree()) == claim.key()) queue_.add(one->name);
  }

  void on_volume(const ObjectPtr& old, const ObjectPtr& now) {
    queue_.add((now ? now : old)->name);
    for (const ObjectPtr& volume : {old, now})
      if (volume)
        if (std::string claim = claim_of(volume->tree()); !claim.empty()) queue_.add(std::move(claim));
    if (!now || phase_of_object(now->tree()) == "Available") wake_pending();
  }

  void wake_pending() {
    for (const ObjectPtr& claim : claims_.indexer().list())
      if (!claim->bytes->contains(annotations::kBindCompleted)) queue_.add(claim->key());
  }

  async::Task<Result<Outcome>> reconcile(std::string key) override {
    if (!key.contains('/')) {
      if (ObjectPtr volume = volumes_.indexer().find(key)) CO_TRY(co_await sync_volume(*volume));
      co_return Outcome{};
    }
    ObjectPtr claim = claims_.indexer().find(key);
    said_now_ = false;
    if (claim && client::annotation_of(claim->tree(), annotations::kBindCompleted).empty()) {
      CO_TRY(co_await sync_unbound(claim));
      co_return Outcome{.requeue_after = said_now_ ? kSayAgain : Duration::zero()};
    }
    forget(key);
    if (claim) CO_TRY(co_await sync_bound(claim));
    co_return Outcome{};
  }

  // What follows takes objects by reference: they are reconcile's, or of the frame that waits for it.

  // --- a claim that has no volume yet
  async::Task<Result<>> sync_unbound(const ObjectPtr& claim) {
    json::Value tree = claim->tree();
    if (client::is_deleting(tree)) co_return Result<>();
    if (std::string_view name = json::get_string(tree, {"spec", "volumeName"}); !name.empty()) co_return co_await bind_named(claim, std::string(name));
    std::string class_name(client::storage_class_of(tree));
    ObjectPtr found = class_name.empty() ? nullptr : classes_.indexer().find(class_name);
    json::Value storage_class = found ? found->tree() : json::Value(json::Object());
    bool delayed = client::delays_binding(storage_class);
    ObjectPtr volume = client::find_volume(tree, volumes_.indexer().list(), {.only_reserved = delayed});
    if (volume) co_return co_await bind(volume, claim);
    if (class_name.empty() && json::find(tree, {"spec", "storageClassName"}) == nullptr) {
      std::string chosen = default_class();
      if (!chosen.empty()) {
        json::at_path(tree, {"spec", "storageClassName"}) = chosen;
        co_return to_nothing(co_await put_claim(*claim, std::move(tree)));
      }
    }
    if (delayed && client::annotation_of(tree, annotations::kSelectedNode).empty()) say_waiting(*claim);
    else if (!class_name.empty()) co_return co_await provision(claim, found);
    else say(*claim, "Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set");
    co_return to_nothing(co_await put_claim_status(*claim, "Pending", nullptr));
  }

  // The claim asks for this one.
  async::Task<Result<>> bind_named(const ObjectPtr& claim, std::string name) {
    ObjectPtr volume = volumes_.indexer().find(name);
    if (volume) {
      json::Value tree = volume->tree(), wanted = claim->tree();
      if (client::is_bound_to(tree, wanted)) co_return co_await bind(volume, claim);
      if (json::find(tree, {"spec", "claimRef"}) == nullptr) {
        std::string_view why = client::volume_mismatch(tree, wanted);
        if (why.empty()) co_return co_await bind(volume, claim);
        say(*claim, "Warning", "VolumeMismatch", cat("Cannot bind to requested volume \"", name, "\": ", why, client::is_deleting(tree) ? cat(" \"", name, "\"") : ""));
      } else {
        say(*claim, "Warning", "FailedBinding", cat("volume \"", name, "\" already bound to a different claim."));
      }
    }
    co_return to_nothing(co_await put_claim_status(*claim, "Pending", nullptr));
  }

  std::string default_class() const {
    std::pair<std::string, std::string> best;  // when it was made, and its name: the youngest, then the first by name
    for (const ObjectPtr& one : classes_.indexer().list()) {
      json::Value tree = one->tree();
      if (!client::is_default_class(tree)) continue;
      std::pair<std::string, std::string> is(json::get_string(tree, {"metadata", "creationTimestamp"}), one->name);
      if (best.second.empty() || is.first > best.first || (is.first == best.first && is.second < best.second)) best = std::move(is);
    }
    return best.second;
  }

  // A class says who makes the volume: this process, at once, or somebody else who reads the claim's annotation.
  async::Task<Result<>> provision(const ObjectPtr& claim, const ObjectPtr& storage_class) {
    json::Value tree = claim->tree();
    std::string class_name(client::storage_class_of(tree));
    if (!storage_class) {
      say(*claim, "Warning", "ProvisioningFailed", cat("storageclass.storage.k8s.io \"", class_name, "\" not found"));
      co_return Result<>();
    }
    json::Value settings = storage_class->tree();
    std::string provisioner(json::get_string(settings, {"provisioner"}));
    if (provisioner.starts_with("kubernetes.io/")) {
      say(*claim, "Warning", "ProvisioningFailed", cat("no volume plugin matched name: ", provisioner));
      co_return Result<>();
    }
    client::Object asked = *claim;
    if (client::annotation_of(tree, annotations::kStorageProvisioner) != provisioner) {
      annotate(tree, annotations::kStorageProvisionerBeta, provisioner);
      annotate(tree, annotations::kStorageProvisioner, provisioner);
      CO_TRY_ASSIGN(asked, co_await put_claim(*claim, std::move(tree)));
    }
    if (!provisioner_.provides(provisioner)) {
      say(*claim, "Normal", "ExternalProvisioning", cat("Waiting for a volume to be created either by the external provisioner '", provisioner, "' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."));
      co_return Result<>();
    }
    std::string failure = cat("failed to provision volume with StorageClass \"", class_name, "\": ");
    if (std::string why = provisioner_.refusal(asked.tree(), settings); !why.empty()) {
      say(*claim, "Warning", "ProvisioningFailed", failure + why);
      co_return Result<>();
    }
    auto made = co_await provisioner_.make(std::move(asked), std::move(settings));
    if (!made) {
      say(*claim, "Warning", "ProvisioningFailed", cat(failure, made.error().message()));
      co_return fail(std::move(made).error());
    }
    say(*claim, "Normal", "ProvisioningSucceeded", cat("Successfully provisioned volume ", *made, " using ", kLocalProvisioner));
    co_return Result<>();
  }

  void say_waiting(const client::Object& claim) {
    std::vector<std::string> pods;
    for (const ObjectPtr& pod : pods_.indexer().by_index(client::kNamespaceIndex, claim.ns)) {
      if (!client::may_have_claims(*pod)) continue;
      json::Value tree = pod->tree();
      if (!json::get_string(tree, {"spec", "nodeName"}).empty()) continue;
      for (const client::ClaimUse& use : client::claims_of(tree))
        if (use.claim == claim.name) pods.push_back(pod->name);
    }
    if (pods.empty()) return say(claim, "Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
    say(claim, "Normal", "WaitForPodScheduled", cat("waiting for pod", pods.size() > 1 ? "s " : " ", join(pods, ","), " to be scheduled"));
  }

  // --- a claim that has had one
  async::Task<Result<>> sync_bound(const ObjectPtr& claim) {
    json::Value tree = claim->tree();
    std::string name(json::get_string(tree, {"spec", "volumeName"}));
    if (name.empty()) co_return co_await lose(*claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
    ObjectPtr volume = volumes_.indexer().find(name);
    if (!volume) {  // the cache may lag behind a claim that came bound
      auto asked = co_await get_volume(name);
      if (!asked && asked.error().code() == Code::kNotFound) co_return co_await lose(*claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
      CO_TRY(asked);
      volume = std::make_shared<const client::Object>(std::move(*asked));
    }
    json::Value has = volume->tree();
    bool ours = json::find(has, {"spec", "claimRef"}) == nullptr || client::is_bound_to(has, tree);
    if (!ours) co_return co_await lose(*claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly");
    CO_TRY(co_await bind(volume, claim));
    if (client::annotation_of(has, annotations::kProvisionedBy) == kLocalProvisioner) co_return co_await expand(*claim, std::move(name));
    co_return Result<>();
  }

  async::Task<Result<>> lose(const client::Object& claim, std::string reason, std::string message) {
    CO_TRY_ASSIGN(bool changed, co_await put_claim_status(claim, "Lost", nullptr));
    if (changed) recorder_.record(client::reference_to(resources::kPersistentVolumeClaims, claim), "Warning", std::move(reason), std::move(message));
    co_return Result<>();
  }

  // A directory has no size: what is asked for is granted by writing it down.
  async::Task<Result<>> expand(const client::Object& seen, std::string volume_name) {
    json::Value claim = seen.tree();
    std::string wanted(json::get_string(claim, {"spec", "resources", "requests", "storage"}));
    auto request = api::parse_quantity(wanted), granted = api::parse_quantity(json::get_string(claim, {"status", "capacity", "storage"}));
    if (!request || !granted || *request <= *granted) co_return Result<>();
    CO_TRY_ASSIGN(client::Object volume, co_await get_volume(volume_name));
    json::Value tree = volume.tree();
    auto capacity = api::parse_quantity(json::get_string(tree, {"spec", "capacity", "storage"}));
    if (!capacity || *capacity < *request) {
      json::at_path(tree, {"spec", "capacity", "storage"}) = wanted;
      CO_TRY(co_await put_volume(volume, std::move(tree)));
    }
    json::at_path(claim, {"status", "capacity", "storage"}) = wanted;
    CO_TRY(co_await put_status(parts_.api, resources::kPersistentVolumeClaims, seen, std::move(claim)));
    recorder_.record(client::reference_to(resources::kPersistentVolumeClaims, seen), "Normal", "VolumeResizeSuccessful", "Resize volume succeeded");
    co_return Result<>();
  }

  // --- both
  async::Task<Result<>> bind(const ObjectPtr& volume, const ObjectPtr& claim) {
    json::Value v = volume->tree(), c = claim->tree();
    client::Object bound = *volume;
    bool reserved = client::is_bound_to(v, c);
    if (json::get_string(v, {"spec", "claimRef", "uid"}) != claim->uid || !reserved) {
      json::at_path(v, {"spec", "claimRef"}) = client::claim_reference(c);
      if (!reserved) annotate(v, annotations::kBoundByController, "yes");
      CO_TRY_ASSIGN(bound, co_await put_volume(*volume, v));
    }
    CO_TRY(co_await put_volume_phase(bound, "Bound", ""));
    client::Object named = *claim;
    bool names = json::get_string(c, {"spec", "volumeName"}) == volume->name;
    if (!names || client::annotation_of(c, annotations::kBindCompleted).empty()) {
      json::at_path(c, {"spec", "volumeName"}) = volume->name;
      if (!names) annotate(c, annotations::kBoundByController, "yes");
      annotate(c, annotations::kBindCompleted, "yes");
      CO_TRY_ASSIGN(named, co_await put_claim(*claim, std::move(c)));
    }
    co_return to_nothing(co_await put_claim_status(named, "Bound", &v));
  }

  // With the volume that it has, or none. Whether it says anything new.
  async::Task<Result<bool>> put_claim_status(const client::Object& claim, std::string phase, const json::Value* volume) {
    json::Value tree = claim.tree();
    json::Value& status = json::at_path(tree, {"status"});
    if (!status.is_object()) status.emplace_object();
    const json::Value before = status;
    json::Object& fields = status.get_object();
    if (volume == nullptr) {
      fields.erase("accessModes");
      fields.erase("capacity");
    } else {
      if (const json::Array* modes = json::get_array(*volume, {"spec", "accessModes"})) fields["accessModes"] = *modes;
      const json::Object* capacity = json::get_object(*volume, {"spec", "capacity"});
      if (capacity != nullptr && json::get_string(before, {"phase"}) != "Bound") fields["capacity"] = *capacity;
    }
    fields["phase"] = phase;
    if (status == before) co_return false;
    bool changed = json::get_string(before, {"phase"}) != phase;
    CO_TRY(co_await put_status(parts_.api, resources::kPersistentVolumeClaims, claim, std::move(tree)));
    co_return changed;
  }

  async::Task<Result<>> put_volume_phase(const client::Object& volume, std::string phase, std::string message) {
    json::Value tree = volume.tree();
    if (phase_of_object(tree) == phase) co_return Result<>();
    json::Object status{{"phase", std::move(phase)}, {"lastPhaseTransitionTime", format_rfc3339(parts_.time.wall())}};
    if (!message.empty()) status["message"] = std::move(message);
    json::at_path(tree, {"status"}) = std::move(status);
    co_return to_nothing(co_await put_status(parts_.api, resources::kPersistentVolumes, volume, std::move(tree)));
  }

  // --- a volume
  async::Task<Result<>> sync_volume(const client::Object& volume) {
    json::Value tree = volume.tree();
    if (std::optional<json::Value> settled = with_finalizer_settled(volume, tree)) co_return to_nothing(co_await put_volume(volume, std::move(*settled)));
    std::string uid(json::get_string(tree, {"spec", "claimRef", "uid"})), key = claim_of(tree);
    if (uid.empty()) co_return co_await put_volume_phase(volume, "Available", "");
    CO_TRY_ASSIGN(std::optional<json::Value> claim, co_await read_claim(key, uid));
    if (!claim) co_return co_await release(volume);
    std::string_view elsewhere = json::get_string(*claim, {"spec", "volumeName"});
    if (elsewhere.empty()) {
      queue_.add(std::move(key));  // between two of the four writes
      co_return Result<>();
    }
    if (elsewhere == volume.name) co_return co_await put_volume_phase(volume, "Bound", "");
    if (!client::annotation_of(tree, annotations::kProvisionedBy).empty() && json::get_string(tree, {"spec", "persistentVolumeReclaimPolicy"}) == "Delete") co_return co_await release(volume);
    co_return co_await unbind(volume);
  }

  // Volumes of ours that go with their claim stay until their directory is gone, whatever is deleted first.
  std::optional<json::Value> with_finalizer_settled(const client::Object& volume, const json::Value& tree) const {
    bool ours = client::annotation_of(tree, annotations::kProvisionedBy) == kLocalProvisioner;
    bool wanted = ours && json::get_string(tree, {"spec", "persistentVolumeReclaimPolicy"}) == "Delete" && !json::get_string(tree, {"spec", "claimRef", "uid"}).empty();
    if (wanted == client::has_finalizer(tree, kProvisionerFinalizer)) return std::nullopt;
    if (!wanted) return ours ? without_finalizer(volume, kProvisionerFinalizer) : std::nullopt;
    if (client::is_deleting(tree)) return std::nullopt;
    json::Value out = tree;
    json::Value& list = json::at_path(out, {"metadata", "finalizers"});
    (list.is_array() ? list.get_array() : list.emplace_array()).emplace_back(kProvisionerFinalizer);
    return out;
  }

  // nullopt: that claim is gone; one of its name may be there. The cache may lag behind a claim that was just made.
  async::Task<Result<std::optional<json::Value>>> read_claim(std::string key, std::string uid) {
    ObjectPtr seen = claims_.indexer().find(key);
    if (seen && seen->uid == uid) co_return std::optional(seen->tree());
    auto [ns, name] = client::split_key(key);
    auto asked = co_await parts_.api.get(resources::kPersistentVolumeClaims, ns, name);
    if (!asked && asked.error().code() != Code::kNotFound) co_return fail(std::move(asked).error());
    if (!asked || asked->uid != uid) co_return std::optional<json::Value>();
    co_return std::optional(asked->tree());
  }

  // Its claim is gone, or has another volume.
  async::Task<Result<>> release(const client::Object& volume) {
    json::Value tree = volume.tree();
    std::string_view phase = phase_of_object(tree), policy = json::get_string(tree, {"spec", "persistentVolumeReclaimPolicy"}, "Retain");
    if (phase != "Released" && phase != "Failed") co_return co_await put_volume_phase(volume, "Released", "");  // which brings us here again
    if (policy == "Recycle") co_return co_await give_up(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!");
    if (policy != "Delete") co_return Result<>();
    std::string_view provisioner = client::annotation_of(tree, annotations::kProvisionedBy);
    if (!provisioner_.provides(provisioner)) {
      if (!provisioner.empty() && !provisioner.starts_with("kubernetes.io/")) co_return Result<>();  // whoever made it removes it
      co_return co_await give_up(volume, "VolumeFailedDelete", cat("error getting deleter volume plugin for volume \"", volume.name, "\": no deletable volume plugin matched"));
    }
    // What is deleted does not come back: no decision by what the cache had.
    auto fresh = co_await get_volume(volume.name);
    if (!fresh && fresh.error().code() != Code::kNotFound) co_return fail(std::move(fresh).error());
    if (!fresh || fresh->resource_version != volume.resource_version) co_return Result<>();  // its news is under way
    Result<> removed = co_await provisioner_.remove(volume.name);
    if (!removed) {
      CO_TRY(co_await give_up(volume, "VolumeFailedDelete", removed.error().message()));
      co_return removed;
    }
    if (std::optional<json::Value> freed = without_finalizer(volume, kProvisionerFinalizer)) CO_TRY(co_await put_volume(volume, std::move(*freed)));
    if (client::is_deleting(tree)) co_return Result<>();
    co_return co_await remove_seen(parts_.api, resources::kPersistentVolumes, volume);
  }

  async::Task<Result<>> give_up(const client::Object& volume, std::string reason, std::string message) {
    if (phase_of_object(volume.tree()) == "Failed") co_return Result<>();
    CO_TRY(co_await put_volume_phase(volume, "Failed", message));
    recorder_.record(client::reference_to(resources::kPersistentVolumes, volume), "Warning", std::move(reason), std::move(message));
    co_return Result<>();
  }

  // The claim has another one. What we chose is free again; what a user reserved stays reserved.
  async::Task<Result<>> unbind(const client::Object& volume) {
    json::Value tree = volume.tree();
    json::Object& spec = json::at_path(tree, {"spec"}).get_object();
    if (!client::annotation_of(tree, annotations::kBoundByController).empty()) {
      spec.erase("claimRef");
      json::Object& all = json::at_path(tree, {"metadata", "annotations"}).get_object();
      all.erase(annotations::kBoundByController);
    } else {
      spec["claimRef"].get_object().erase("uid");
    }
    CO_TRY_ASSIGN(client::Object freed, co_await put_volume(volume, std::move(tree)));
    co_return co_await put_volume_phase(freed, "Available", "");
  }

  async::Task<Result<client::Object>> get_volume(std::string name) { return parts_.api.get(resources::kPersistentVolumes, "", std::move(name)); }
  async::Task<Result<client::Object>> put_volume(const client::Object& volume, json::Value tree) { return put_object(parts_.api, resources::kPersistentVolumes, volume, std::move(tree)); }
  async::Task<Result<client::Object>> put_claim(const client::Object& claim, json::Value tree) { return put_object(parts_.api, resources::kPersistentVolumeClaims, claim, std::move(tree)); }

  template <typename T>
  static Result<> to_nothing(Result<T> written) {
    if (!written) return fail(std::move(written).error());
    return {};
  }

  // --- events about a claim that waits: once, and again while it still waits
  void say(const client::Object& claim, std::string type, std::string reason, std::string message) {
    MonoTime now = parts_.time.mono();
    std::string what = cat(claim.key(), "\n", claim.uid, reason, message);
    auto last = said_.find(what);
    if (last != said_.end() && now - last->second < kSayAgain) return;
    forget(claim.key());
    said_[std::move(what)] = now;
    said_now_ = true;
    recorder_.record(client::reference_to(resources::kPersistentVolumeClaims, claim), std::move(type), std::move(reason), std::move(message));
  }
  void forget(const std::string& claim) {
    std::erase_if(said_, [&claim](const auto& one) { return one.first.starts_with(claim) && one.first[claim.size()] == '\n'; });
  }

  client::Informer &claims_, &volumes_, &classes_, &pods_;
  VolumeProvisioner provisioner_;
  std::map<std::string, MonoTime> said_;  // by claim and text; one a claim, none of those that are bound or gone
  bool said_now_ = false;                 // by the claim that is being worked on
};

}  // namespace

std::unique_ptr<Controller> make_volume_binder(const ControllerParts& parts) { return std::make_unique<VolumeBinder>(parts); }

}  // namespace monopod::controllers
