#include "controllers/managed_slices.h"

#include <algorithm>

#include "base/strings.h"
#include "controllers/pods.h"

namespace monopod::controllers {
namespace {

using client::ObjectPtr;
namespace resources = client::resources;

constexpr std::string_view kServiceName = "kubernetes.io/service-name";
constexpr std::string_view kManagedBy = "endpointslice.kubernetes.io/managed-by";

// "ns/service" where the slice is the manager's.
std::vector<std::string> service_key_of(const client::Object& slice, std::string_view manager) {
  json::Value tree = slice.tree();
  if (json::get_string(tree, {"metadata", "labels", kManagedBy}) != manager) return {};
  return {cat(slice.ns, "/", json::get_string(tree, {"metadata", "labels", kServiceName}))};
}

json::Array array_of(const json::Value& tree, std::string_view member) {
  const json::Array* found = json::get_array(tree, {member});
  return found == nullptr ? json::Array() : *found;
}

}  // namespace

void append_slices(const WantedSlice& whole, std::vector<WantedSlice>& out) {
  for (std::size_t i = 0; i < whole.endpoints.size(); i += kSliceEndpointsMax) {
    WantedSlice slice{.address_type = whole.address_type, .ports = whole.ports};
    for (std::size_t k = i; k < std::min(i + kSliceEndpointsMax, whole.endpoints.size()); ++k) slice.endpoints.push_back(whole.endpoints[k]);
    out.push_back(std::move(slice));
  }
}

ManagedSlices::ManagedSlices(const ControllerParts& parts, std::string_view manager, std::function<void(std::string)> on_change)
    : parts_(parts), manager_(manager), slices_(parts.informers.informer(resources::kEndpointSlices)) {
  slices_.indexer().add_index(manager_, [who = manager_](const client::Object& slice) { return service_key_of(slice, who); });
  slices_.add_handler([this, on_change = std::move(on_change)](const ObjectPtr& old, const ObjectPtr& now) {
    for (std::string& key : service_key_of(*(now ? now : old), manager_)) {
      if (auto it = unseen_.find(key); it != unseen_.end()) it->second.erase((now ? now : old)->name);
      on_change(std::move(key));
    }
  });
}

bool ManagedSlices::lags(const std::string& key) const {
  auto it = unseen_.find(key);
  return it != unseen_.end() && !it->second.empty();
}

async::Task<Result<>> ManagedSlices::put(Of of, std::vector<WantedSlice> wanted) {
  json::Object labels = of.labels;
  labels[kServiceName] = client::split_key(of.key).second;
  labels[kManagedBy] = manager_;
  std::vector<ObjectPtr> existing = slices_.indexer().by_index(manager_, of.key);
  std::sort(existing.begin(), existing.end(), [](const ObjectPtr& a, const ObjectPtr& b) { return a->name < b->name; });
  for (WantedSlice& slice : wanted) CO_TRY(co_await put_one(of, labels, slice, existing));
  for (const ObjectPtr& left : existing) {
    Result<> removed = co_await parts_.api.remove(resources::kEndpointSlices, left->ns, left->name, {.precondition_uid = left->uid});
    if (!removed && removed.error().code() != Code::kNotFound) co_return fail(removed.error());
  }
  co_return Result<>();
}

// Writes the slice over an existing one with the same ports (taken out of existing), or a new one.
async::Task<Result<>> ManagedSlices::put_one(const Of& of, const json::Object& labels, WantedSlice& slice, std::vector<ObjectPtr>& existing) {
  ObjectPtr match;
  for (auto it = existing.begin(); it != existing.end() && !match; ++it) {
    const json::Value tree = (*it)->tree();
    if (json::get_string(tree, {"addressType"}) != slice.address_type) continue;  // immutable
    if (array_of(tree, "ports") != slice.ports && existing.size() > 1) continue;
    match = *it;
    existing.erase(it);
    break;
  }
  if (match) {
    json::Value tree = match->tree();
    json::Value before = tree;
    json::Object& fields = tree.get_object();
    fields["endpoints"] = std::move(slice.endpoints);
    fields["ports"] = std::move(slice.ports);
    json::at_path(tree, {"metadata", "labels"}) = labels;
    if (!of.annotations.empty()) json::at_path(tree, {"metadata", "annotations"}) = of.annotations;
    if (tree == before) co_return Result<>();
    Result<client::Object> updated = co_await parts_.api.update(resources::kEndpointSlices, match->ns, match->name, std::move(tree), {});
    if (!updated) co_return fail(updated.error());
    co_return Result<>();
  }
  std::string ns = client::split_key(of.key).first;
  json::Object metadata{{"generateName", cat(client::split_key(of.key).second, "-")},
                        {"namespace", ns},
                        {"labels", labels},
                        {"ownerReferences", json::Array{client::controller_reference(of.resource, of.object)}}};
  if (!of.annotations.empty()) metadata["annotations"] = of.annotations;
  json::Value body = json::Object{{"apiVersion", "discovery.k8s.io/v1"}, {"kind", "EndpointSlice"},
                                  {"metadata", std::move(metadata)}, {"addressType", slice.address_type},
                                  {"endpoints", std::move(slice.endpoints)}, {"ports", std::move(slice.ports)}};
  auto created = co_await parts_.api.create(resources::kEndpointSlices, ns, std::move(body), {});
  if (!created && namespace_is_terminating(created.error())) co_return Result<>();
  if (!created) co_return fail(created.error());
  if (!slices_.indexer().find(created->key())) unseen_[of.key].insert(created->name);
  co_return Result<>();
}

}  // namespace monopod::controllers
