#include "controllers/revisions.h"

#include <algorithm>

#include "base/strings.h"
#include "controllers/deployment_math.h"
#include "controllers/pods.h"

namespace monopod::controllers {

using client::ObjectPtr;
namespace resources = client::resources;

namespace {

constexpr int kCollisionsMax = 16;       // in a row; each changes the hash
constexpr std::size_t kPrefixMax = 223;  // bytes of the owner's name in a revision's

json::Value data_of_template(const json::Value& owner) {
  const json::Value* source = json::find(owner, {"spec", "template"});
  json::Value pod_template = source != nullptr ? *source : json::Value(json::Object());
  json::at_path(pod_template, {"$patch"}) = "replace";
  return json::Object{{"spec", json::Object{{"template", std::move(pod_template)}}}};
}

bool holds(const TemplateRevision& revision, const json::Value& data) {
  const json::Value* has = json::find(revision.tree, {"data"});
  return has != nullptr && *has == data;
}

bool is_older(const TemplateRevision& a, const TemplateRevision& b) {
  auto rank = [](const TemplateRevision& r) { return std::tuple(r.number(), client::time_at(r.tree, {"metadata", "creationTimestamp"}), std::string_view(r.name())); };
  return rank(a) < rank(b);
}

TemplateRevision revision_of(client::Object object) {
  json::Value tree = object.tree();
  return {std::move(object), std::move(tree)};
}

}  // namespace

json::Value TemplateRevision::pod_template() const {
  const json::Value* source = json::find(tree, {"data", "spec", "template"});
  json::Value out = source != nullptr ? *source : json::Value(json::Object());
  if (out.is_object()) out.get_object().erase("$patch");
  return out;
}

RevisionHistory::RevisionHistory(const ControllerParts& parts, const client::Resource& resource, std::string_view hash_label)
    : parts_(parts), resource_(resource), hash_label_(hash_label), revisions_(parts.informers.informer(resources::kControllerRevisions)) {
  add_owner_index(revisions_);
}

async::Task<Result<std::vector<TemplateRevision>>> RevisionHistory::list(const client::Object& owner, const json::Value& tree, const api::LabelSelector& selector) {
  std::vector<TemplateRevision> out;
  for (const ObjectPtr& revision : revisions_.indexer().by_index(kOwnerIndex, owner.uid)) out.push_back(revision_of(*revision));
  if (!client::is_deleting(tree)) {
    for (const ObjectPtr& revision : revisions_.indexer().by_index(client::kNamespaceIndex, owner.ns)) {
      if (revision->bytes->find("\"ownerReferences\"") != std::string::npos || !selector.matches(client::labels_of(revision->tree()))) continue;
      json::Value patch = json::Object{{"metadata", json::Object{{"uid", revision->uid}, {"ownerReferences", json::Array{client::controller_reference(resource_, owner)}}}}};
      CO_TRY_ASSIGN(client::Object adopted, co_await parts_.api.patch(resources::kControllerRevisions, owner.ns, revision->name, client::PatchType::kStrategicMerge, std::move(patch), {}));
      out.push_back(revision_of(std::move(adopted)));
    }
  }
  std::ranges::sort(out, is_older);
  co_return out;
}

async::Task<Result<TemplateRevision>> RevisionHistory::ensure(const client::Object& owner, const json::Value& tree, std::vector<TemplateRevision>& revisions, std::int64_t& collisions) {
  json::Value data = data_of_template(tree);
  std::int64_t newest = revisions.empty() ? 0 : revisions.back().number();
  auto same = std::ranges::find_if(revisions.rbegin(), revisions.rend(), [&](const TemplateRevision& r) { return holds(r, data); });
  if (same == revisions.rend()) {
    CO_TRY_ASSIGN(TemplateRevision made, co_await create(owner, tree, std::move(data), newest + 1, collisions));
    revisions.push_back(made);
    co_return made;
  }
  if (same != revisions.rbegin() && same->number() <= newest) {  // a template of old is wanted again
    json::Value patch = json::Object{{"metadata", json::Object{{"uid", same->object.uid}}}, {"revision", newest + 1}};
    CO_TRY_ASSIGN(client::Object renumbered, co_await parts_.api.patch(resources::kControllerRevisions, owner.ns, same->name(), client::PatchType::kMerge, std::move(patch), {}));
    *same = revision_of(std::move(renumbered));
    TemplateRevision found = *same;
    std::ranges::sort(revisions, is_older);
    co_return found;
  }
  co_return *same;
}

async::Task<Result<TemplateRevision>> RevisionHistory::create(const client::Object& owner, const json::Value& tree, json::Value data, std::int64_t number, std::int64_t& collisions) {
  std::string text = json::format(data);
  for (int attempt = 0; attempt < kCollisionsMax; ++attempt) {
    std::string hash = template_hash(text, collisions);
    std::string name = cat(std::string_view(owner.name).substr(0, kPrefixMax), "-", hash);
    const json::Object* template_labels = json::get_object(tree, {"spec", "template", "metadata", "labels"});
    json::Object labels = template_labels != nullptr ? *template_labels : json::Object();
    labels[hash_label_] = hash;
    json::Object metadata{{"name", name}, {"namespace", owner.ns}, {"labels", std::move(labels)}, {"ownerReferences", json::Array{client::controller_reference(resource_, owner)}}};
    if (const json::Object* annotations = json::get_object(tree, {"metadata", "annotations"})) metadata["annotations"] = *annotations;
    json::Value body = json::Object{{"apiVersion", "apps/v1"}, {"kind", "ControllerRevision"}, {"metadata", std::move(metadata)}, {"data", data}, {"revision", number}};
    auto created = co_await parts_.api.create(resources::kControllerRevisions, owner.ns, std::move(body), {});
    if (created) co_return revision_of(std::move(*created));
    if (created.error().code() != Code::kAlreadyExists) co_return fail(created.error());
    CO_TRY_ASSIGN(client::Object other, co_await parts_.api.get(resources::kControllerRevisions, owner.ns, name));
    TemplateRevision existing = revision_of(std::move(other));
    auto whose = client::controller_of(existing.tree);
    if (holds(existing, data) && whose && whose->uid == owner.uid) co_return existing;  // ours: the cache is behind
    ++collisions;
  }
  co_return fail(Code::kUnavailable, cat("no free name for a revision of ", owner.name));
}

async::Task<Result<>> RevisionHistory::truncate(const json::Value& tree, const std::vector<TemplateRevision>& revisions, const std::set<std::string>& in_use) {
  std::vector<const TemplateRevision*> idle;
  for (const TemplateRevision& revision : revisions)
    if (!in_use.contains(revision.name())) idle.push_back(&revision);
  std::int64_t excess = static_cast<std::int64_t>(idle.size()) - json::get_int(tree, {"spec", "revisionHistoryLimit"}, 10);
  for (std::int64_t i = 0; i < excess; ++i) {
    const client::Object& old = idle[static_cast<std::size_t>(i)]->object;
    Result<> removed = co_await parts_.api.remove(resources::kControllerRevisions, old.ns, old.name, {.precondition_uid = old.uid});
    if (!removed && removed.error().code() != Code::kNotFound && removed.error().code() != Code::kAborted) co_return removed;
  }
  co_return Result<>();
}

}  // namespace monopod::controllers
