#include "controllers/pod_owner.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::controllers {

using client::ObjectPtr;
namespace resources = client::resources;

bool goes_first(const OwnedPod& a, const OwnedPod& b) {
  auto rank = [](const OwnedPod& p) {
    std::string_view phase = phase_of(p.tree);
    int phase_rank = phase == "Pending" ? 0 : phase == "Unknown" ? 1 : 2;
    return std::tuple(!json::get_string(p.tree, {"spec", "nodeName"}).empty(), phase_rank, is_ready(p.tree));
  };
  if (rank(a) != rank(b)) return rank(a) < rank(b);
  std::int64_t cost_a = parse_int<std::int64_t>(json::get_string(a.tree, {"metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost"})).value_or(0);
  std::int64_t cost_b = parse_int<std::int64_t>(json::get_string(b.tree, {"metadata", "annotations", "controller.kubernetes.io/pod-deletion-cost"})).value_or(0);
  if (cost_a != cost_b) return cost_a < cost_b;
  return client::time_at(a.tree, {"metadata", "creationTimestamp"}) > client::time_at(b.tree, {"metadata", "creationTimestamp"});
}

void sort_pods(std::vector<const OwnedPod*>& pods, bool (*before)(const OwnedPod& a, const OwnedPod& b)) {
  std::ranges::stable_sort(pods, [before](const OwnedPod* a, const OwnedPod* b) { return before(*a, *b); });
}

PodOwner::PodOwner(const ControllerParts& parts, const PodOwnerKind& kind)
    : QueueController(parts, std::string(kind.controller), 4),
      kind_(kind),
      owners_(parts.informers.informer(kind.resource)),
      pods_(parts.informers.informer(resources::kPods)),
      expectations_(parts.time) {
  add_owner_index(pods_);
  watch_keys(owners_);
  pods_.add_handler([this](const ObjectPtr& old, const ObjectPtr& now) { on_pod(old, now); });
}

void PodOwner::on_pod(const ObjectPtr& old, const ObjectPtr& now) {
  const client::Object& pod = *(now ? now : old);
  bool tracked = !kind_.finalizer.empty() && pod.bytes->find(kind_.finalizer) != std::string::npos;
  if (owners_.indexer().size() == 0 && !tracked) return;  // a kind that nobody uses costs nothing
  json::Value tree = pod.tree();
  auto owner = client::controller_of(tree);
  if (owner && owner->kind == kind_.resource.kind && owner->api_version == kind_.resource.api_version()) {
    std::string key = pod.ns + "/" + owner->name;
    if (!old) expectations_.saw_addition(key);
    if (!now || client::is_deleting(tree)) expectations_.saw_deletion(key, pod.uid);
    queue_.add(std::move(key));
  } else if (!owner && now) {
    for (const ObjectPtr& set : owners_.indexer().by_index(client::kNamespaceIndex, pod.ns)) {  // one of them may select it
      auto selector = selector_of(set->tree());
      if (selector && selector->matches(client::labels_of(tree))) queue_.add(set->key());
    }
    if (old) {  // the one that lost it
      auto before = client::controller_of(old->tree());
      if (before && before->kind == kind_.resource.kind && before->api_version == kind_.resource.api_version()) queue_.add(pod.ns + "/" + before->name);
    }
    if (tracked) on_orphan(pod);
  }
}

std::optional<api::LabelSelector> PodOwner::selector_of(const json::Value& owner) const {
  const json::Value* selector = json::find(owner, {"spec", "selector"});
  if (selector == nullptr) return std::nullopt;
  auto parsed = api::make_label_selector(kind_.map_selector ? json::Value(json::Object{{"matchLabels", *selector}}) : *selector);
  if (!parsed || parsed->empty()) return std::nullopt;
  return std::move(*parsed);
}

async::Task<Result<>> PodOwner::patch_pod(const client::Object& pod, json::Object metadata) {
  auto written = co_await patch_metadata(parts_.api, resources::kPods, pod, std::move(metadata));
  if (!written && written.error().code() != Code::kNotFound) co_return fail(written.error());
  co_return Result<>();
}

async::Task<Result<>> PodOwner::claim(const client::Object& owner, const json::Value& tree, const api::LabelSelector& selector, std::vector<OwnedPod>& mine) {
  bool deleting = client::is_deleting(tree);
  std::string finalizer(kind_.finalizer);
  for (const ObjectPtr& pod : pods_.indexer().by_index(kOwnerIndex, owner.uid)) {
    json::Value pod_tree = pod->tree();
    if (!is_active(pod_tree) || (selector.matches(client::labels_of(pod_tree)) && may_own(owner, *pod))) {
      mine.push_back({pod, std::move(pod_tree)});
    } else if (!deleting) {
      json::Object released{{"ownerReferences", json::Array{json::Object{{"$patch", "delete"}, {"uid", owner.uid}}}}};
      if (!finalizer.empty()) released["$deleteFromPrimitiveList/finalizers"] = json::Array{json::Value(finalizer)};
      CO_TRY(co_await patch_pod(*pod, std::move(released)));
    }
  }
  if (deleting) co_return Result<>();
  for (const ObjectPtr& pod : pods_.indexer().by_index(client::kNamespaceIndex, owner.ns)) {
    if (pod->bytes->find("\"ownerReferences\"") != std::string::npos) continue;
    json::Value pod_tree = pod->tree();
    if (!is_active(pod_tree) || !selector.matches(client::labels_of(pod_tree)) || !may_own(owner, *pod)) continue;
    json::Object adopted{{"ownerReferences", json::Array{client::controller_reference(kind_.resource, owner)}}};
    if (!finalizer.empty()) adopted["finalizers"] = json::Array{json::Value(finalizer)};
    CO_TRY(co_await patch_pod(*pod, std::move(adopted)));
    mine.push_back({pod, std::move(pod_tree)});
  }
  co_return Result<>();
}

async::Task<Result<bool>> PodOwner::create_pod(const client::Object& owner, json::Value pod) {
  std::string key = owner.key(), name(client::name_of(pod));
  expectations_.expect_additions(key, 1);
  auto created = co_await parts_.api.create(resources::kPods, owner.ns, std::move(pod), {});
  if (!created) {
    expectations_.saw_addition(key);
    if (namespace_is_terminating(created.error())) co_return false;
    if (created.error().code() != Code::kCancelled && created.error().code() != Code::kAlreadyExists) say_created(owner, name, &created.error());
    co_return fail(created.error());
  }
  say_created(owner, created->name, nullptr);
  co_return true;
}

async::Task<Result<>> PodOwner::delete_pods(const client::Object& owner, std::vector<const OwnedPod*> pods) {
  std::string key = owner.key();
  for (const OwnedPod* pod : pods) {
    expectations_.expect_deletion(key, pod->object->uid);
    Result<> removed = co_await parts_.api.remove(resources::kPods, pod->object->ns, pod->object->name, {.precondition_uid = pod->object->uid});
    if (!removed) {
      expectations_.saw_deletion(key, pod->object->uid);
      if (removed.error().code() == Code::kNotFound || removed.error().code() == Code::kAborted) continue;
      if (removed.error().code() != Code::kCancelled) say_deleted(owner, pod->object->name, &removed.error());
      co_return removed;
    }
    say_deleted(owner, pod->object->name, nullptr);
  }
  co_return Result<>();
}

async::Task<Result<>> PodOwner::write_status(const client::Object& owner, json::Value tree, json::Value status) {
  const json::Value* before = json::find(tree, {"status"});
  if (before != nullptr && *before == status) co_return Result<>();
  tree.get_object()["status"] = std::move(status);
  auto written = co_await put_status(parts_.api, kind_.resource, owner, std::move(tree));
  if (!written && written.error().code() != Code::kNotFound) co_return fail(written.error());
  co_return Result<>();
}

void PodOwner::record(const client::Object& owner, std::string_view type, std::string_view reason, std::string message) {
  recorder_.record(client::reference_to(kind_.resource, owner), std::string(type), std::string(reason), std::move(message));
}

void PodOwner::say_created(const client::Object& owner, std::string_view pod, const Error* failure) {
  if (failure != nullptr) record(owner, "Warning", "FailedCreate", cat("Error creating: ", failure->message()));
  else record(owner, "Normal", "SuccessfulCreate", cat("Created pod: ", pod));
}

void PodOwner::say_deleted(const client::Object& owner, std::string_view pod, const Error* failure) {
  if (failure != nullptr) record(owner, "Warning", "FailedDelete", cat("Error deleting: ", failure->message()));
  else record(owner, "Normal", "SuccessfulDelete", cat("Deleted pod: ", pod));
}

}  // namespace monopod::controllers
