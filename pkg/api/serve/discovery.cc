#include "api/serve/discovery.h"

#include <algorithm>

#include "api/registry/registry.h"
#include "base/strings.h"
#include "codec/json.h"
#include "pki/digest.h"

namespace monopod::api {
namespace {

constexpr Verb kAllVerbs[] = {kCreate, kDelete, kDeleteCollection, kGet, kList, kPatch, kUpdate, kWatch};

json::Array verbs_of(std::uint16_t verbs) {
  json::Array out;
  for (Verb verb : kAllVerbs)
    if ((verbs & verb) != 0) out.emplace_back(verb_name(verb));
  return out;
}

json::Object kind_of(std::string_view group, std::string_view version, std::string_view kind) {
  return {{"group", group}, {"version", version}, {"kind", kind}};
}

json::Object aggregated_resource(const Resource& resource) {
  json::Object out{{"resource", resource.plural()},
                   {"responseKind", kind_of(resource.group(), resource.version(), resource.kind())},
                   {"scope", resource.namespaced ? "Namespaced" : "Cluster"},
                   {"singularResource", resource.singular()},
                   {"verbs", verbs_of(resource.verbs)}};
  json::Array names, categories, subresources;
  for (std::size_t i = 0; i < resource.short_name_count(); ++i) names.emplace_back(resource.short_name(i));
  for (std::size_t i = 0; i < resource.category_count(); ++i) categories.emplace_back(resource.category(i));
  for (const Subresource& sub : resource.subresources()) {
    std::string_view group = sub.group(), version = sub.version(), kind = sub.kind();
    if (version.empty()) std::tie(group, version) = std::make_pair(resource.group(), resource.version());
    if (kind.empty()) kind = resource.kind();
    subresources.push_back(json::Object{{"subresource", sub.name()}, {"responseKind", kind_of(group, version, kind)}, {"verbs", verbs_of(sub.verbs)}});
  }
  if (!names.empty()) out["shortNames"] = std::move(names);
  if (!categories.empty()) out["categories"] = std::move(categories);
  if (!subresources.empty()) out["subresources"] = std::move(subresources);
  return out;
}

std::string make_aggregated(const crd::KindSet& kinds, bool core, std::string_view api_version) {
  json::Array items;
  for (const ServedGroup& group : served_groups(kinds)) {
    if (group.group.empty() != core) continue;
    json::Array versions;
    for (std::string_view version : group.versions) {
      json::Array list;
      kinds.each([&](const Resource& resource) {
        if (resource.group() == group.group && resource.version() == version) list.push_back(aggregated_resource(resource));
      });
      versions.push_back(json::Object{{"version", version}, {"resources", std::move(list)}, {"freshness", "Current"}});
    }
    json::Object meta{{"creationTimestamp", nullptr}};
    if (!core) meta["name"] = group.group;
    items.push_back(json::Object{{"metadata", std::move(meta)}, {"versions", std::move(versions)}});
  }
  return json::format(json::Object{{"kind", "APIGroupDiscoveryList"},
                                   {"apiVersion", cat("apidiscovery.k8s.io/", api_version)},
                                   {"metadata", json::Object()},
                                   {"items", std::move(items)}});
}

json::Object legacy_resource(const Resource& resource) {
  json::Object out{{"name", resource.plural()}, {"singularName", resource.singular()}, {"namespaced", resource.namespaced},
                   {"kind", resource.kind()}, {"verbs", verbs_of(resource.verbs)}};
  json::Array names, categories;
  for (std::size_t i = 0; i < resource.short_name_count(); ++i) names.emplace_back(resource.short_name(i));
  for (std::size_t i = 0; i < resource.category_count(); ++i) categories.emplace_back(resource.category(i));
  if (!names.empty()) out["shortNames"] = std::move(names);
  if (!categories.empty()) out["categories"] = std::move(categories);
  if (!resource.storage_version_hash().empty()) out["storageVersionHash"] = resource.storage_version_hash();
  return out;
}

std::string make_resource_list(const crd::KindSet& kinds, std::string_view group, std::string_view version) {
  json::Array list;
  std::string group_version = group.empty() ? std::string(version) : cat(group, '/', version);
  kinds.each([&](const Resource& resource) {
    if (resource.group() != group || resource.version() != version) return;
    list.push_back(legacy_resource(resource));
    for (const Subresource& sub : resource.subresources()) {
      json::Object row{{"name", cat(resource.plural(), '/', sub.name())}, {"singularName", ""}, {"namespaced", resource.namespaced},
                       {"kind", sub.kind().empty() ? resource.kind() : sub.kind()}, {"verbs", verbs_of(sub.verbs)}};
      if (!sub.version().empty() && (sub.group() != group || sub.version() != version)) {
        row["group"] = sub.group();
        row["version"] = sub.version();
      }
      list.push_back(std::move(row));
    }
  });
  if (list.empty()) return {};
  return json::format(json::Object{{"kind", "APIResourceList"}, {"apiVersion", "v1"}, {"groupVersion", group_version}, {"resources", std::move(list)}});
}

json::Object group_object(const ServedGroup& group) {
  json::Array versions;
  for (std::string_view version : group.versions)
    versions.push_back(json::Object{{"groupVersion", cat(group.group, '/', version)}, {"version", version}});
  json::Value preferred = versions.front();
  return {{"name", group.group}, {"versions", std::move(versions)}, {"preferredVersion", std::move(preferred)}};
}

DiscoveryDocument finished(std::string text) {
  DiscoveryDocument out;
  std::string hash = pki::sha512_hex(text);
  for (char& c : hash)
    if (c >= 'a') c = static_cast<char>(c - 32);
  out.etag = cat('"', hash, '"');
  out.bytes = share(std::move(text));
  return out;
}

}  // namespace

std::vector<ServedGroup> served_groups(const crd::KindSet& kinds) {
  std::vector<ServedGroup> out;
  kinds.each([&out](const Resource& resource) {
    if (out.empty() || out.back().group != resource.group()) out.push_back({resource.group(), {}});
    std::vector<std::string_view>& versions = out.back().versions;
    if (std::find(versions.begin(), versions.end(), resource.version()) != versions.end()) return;
    bool preferred = !resource.is_custom && &stored_resource(resource) == &resource;
    versions.insert(preferred ? versions.begin() : versions.end(), resource.version());
    if (resource.is_custom) std::ranges::sort(versions, crd::version_before);
  });
  // Short names are looked up in this order: apps before what came later.
  constexpr std::string_view kFirst[] = {"", "apps", "events.k8s.io", "batch", "autoscaling", "networking.k8s.io", "policy"};
  auto rank = [&kFirst](const ServedGroup& group) { return std::find(std::begin(kFirst), std::end(kFirst), group.group) - std::begin(kFirst); };
  std::stable_sort(out.begin(), out.end(), [&](const ServedGroup& a, const ServedGroup& b) { return rank(a) < rank(b); });
  return out;
}

Discovery::Discovery(std::string server_address, const crd::Kinds& kinds) : kinds_(kinds), server_address_(std::move(server_address)) {}

void Discovery::forget_old() {
  std::uint64_t now = kinds_.snapshot()->number;
  if (now != number_) documents_.clear();
  number_ = now;
}

const DiscoveryDocument& Discovery::aggregated(bool core, std::string_view version) {
  forget_old();
  std::string key = cat(core ? "core" : "groups", ' ', version);
  auto it = documents_.find(key);
  if (it == documents_.end()) it = documents_.emplace(key, finished(make_aggregated(*kinds_.snapshot(), core, version))).first;
  return it->second;
}

std::string Discovery::make_legacy(std::string_view path) const {
  if (path == "/api") {
    return json::format(json::Object{
        {"kind", "APIVersions"},
        {"versions", json::Array{"v1"}},
        {"serverAddressByClientCIDRs", json::Array{json::Object{{"clientCIDR", "0.0.0.0/0"}, {"serverAddress", server_address_}}}}});
  }
  std::shared_ptr<const crd::KindSet> kinds = kinds_.snapshot();
  std::vector<ServedGroup> groups = served_groups(*kinds);
  if (path == "/apis") {
    json::Array list;
    for (const ServedGroup& group : groups)
      if (!group.group.empty()) list.push_back(group_object(group));
    return json::format(json::Object{{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", std::move(list)}});
  }
  std::vector<std::string_view> parts = split(path.substr(1), '/');
  if (parts.size() == 2 && parts[0] == "api") return make_resource_list(*kinds, "", parts[1]);
  if (parts.size() == 3 && parts[0] == "apis") return make_resource_list(*kinds, parts[1], parts[2]);
  if (parts.size() == 2 && parts[0] == "apis") {
    for (const ServedGroup& group : groups) {
      if (group.group != parts[1] || group.group.empty()) continue;
      json::Object out = group_object(group);
      out["kind"] = "APIGroup";
      out["apiVersion"] = "v1";
      return json::format(out);
    }
  }
  return {};
}

const DiscoveryDocument* Discovery::legacy(std::string_view path) {
  forget_old();
  auto it = documents_.find(path);
  if (it == documents_.end()) {
    std::string text = make_legacy(path);
    if (text.empty()) return nullptr;  // not kept: paths are the client's
    it = documents_.emplace(path, finished(std::move(text))).first;
  }
  return &it->second;
}

}  // namespace monopod::api
