#include "controllers/revisions.h"

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

void insert_by_age(std::vector<TemplateRevision>& revisions, TemplateRevision revision) {
  std::size_t at = revisions.size();
  while (at > 0 && is_older(revision, revisions[at - 1])) --at;
  revisions.insert(revisions.begin() + static_cast<std::ptrdiff_t>(at), std::move(revision));
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

async::Task<Result<>> RevisionHistory::list(const client::Object& owner, const json::Value& tree, const api::LabelSelector& selector, std::vector<TemplateRevision>& out) {
  for (const ObjectPtr& revision : revisions_.indexer().by_index(kOwnerIndex, owner.uid)) insert_by_age(out, revision_of(*revision));
  if (client::is_deleting(tree)) co_return Result<>();
  for (const ObjectPtr& revision : revisions_.indexer().by_index(client::kNamespaceIndex, owner.ns)) {
    if (revision->bytes->find("\"ownerReferences\"") != std::string::npos || !selector.matches(client::labels_of(revision->tree()))) continue;
    CO_TRY_ASSIGN(client::Object adopted, co_await patch_metadata(parts_.api, resources::kControllerRevisions, *revision, json::Object{{"ownerReferences", json::Array{client::controller_reference(resource_, owner)}}}));
    insert_by_age(out, revision_of(std::move(adopted)));
  }
  co_return Result<>();
}

async::Task<Result<>> RevisionHistory::ensure(const client::Object& owner, const json::Value& tree, std::vector<TemplateRevision>& revisions, std::int64_t& collisions, TemplateRevision& found) {
  json::Value data = data_of_template(tree);
  std::int64_t newest = revisions.empty() ? 0 : revisions.back().number();
  std::size_t at = revisions.size();
  while (at > 0 && !holds(revisions[at - 1], data)) --at;
  if (at == 0) {
    CO_TRY(co_await create(owner, tree, std::move(data), newest + 1, collisions, found));
  } else {
    found = std::move(revisions[--at]);
    revisions.erase(revisions.begin() + static_cast<std::ptrdiff_t>(at));
    if (at < revisions.size()) {  // a template of old is wanted again
      json::Value patch = json::Object{{"metadata", json::Object{{"uid", found.object.uid}}}, {"revision", newest + 1}};
      CO_TRY_ASSIGN(client::Object renumbered, co_await parts_.api.patch(resources::kControllerRevisions, owner.ns, found.name(), client::PatchType::kMerge, std::move(patch), {}));
      found = revision_of(std::move(renumbered));
    }
  }
  revisions.push_back(found);
  co_return Result<>();
}

json::Value RevisionHistory::body_of(const client::Object& owner, const json::Value& tree, const std::string& hash, const json::Value& data, std::int64_t number) const {
  json::Object metadata{{"ownerReferences", json::Array{client::controller_reference(resource_, owner)}}};
  metadata["name"] = cat(std::string_view(owner.name).substr(0, kPrefixMax), "-", hash);
  if (const json::Value* annotations = json::find(tree, {"metadata", "annotations"})) metadata["annotations"] = *annotations;
  if (const json::Value* labels = json::find(tree, {"spec", "template", "metadata", "labels"})) metadata["labels"] = *labels;
  json::Value body = json::Object{{"apiVersion", "apps/v1"}, {"kind", "ControllerRevision"}, {"metadata", std::move(metadata)}, {"data", data}, {"revision", number}};
  json::at_path(body, {"metadata", "labels", hash_label_}) = hash;
  return body;
}

async::Task<Result<>> RevisionHistory::create(const client::Object& owner, const json::Value& tree, json::Value data, std::int64_t number, std::int64_t& collisions, TemplateRevision& made) {
  std::string text = json::format(data);
  for (int attempt = 0; attempt < kCollisionsMax; ++attempt) {
    json::Value body = body_of(owner, tree, template_hash(text, collisions), data, number);
    std::string name(client::name_of(body));
    auto created = co_await parts_.api.create(resources::kControllerRevisions, owner.ns, std::move(body), {});
    bool taken = !created && created.error().code() == Code::kAlreadyExists;
    if (taken) created = co_await parts_.api.get(resources::kControllerRevisions, owner.ns, name);
    if (!created) co_return fail(created.error());
    made = revision_of(std::move(*created));
    auto whose = client::controller_of(made.tree);
    if (!taken || (holds(made, data) && whose && whose->uid == owner.uid)) co_return Result<>();  // new, or ours: the cache is behind
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
    CO_TRY(co_await remove_seen(parts_.api, resources::kControllerRevisions, idle[static_cast<std::size_t>(i)]->object));
  }
  co_return Result<>();
}

}  // namespace monopod::controllers
