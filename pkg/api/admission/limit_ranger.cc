// LimitRanger: a namespace's defaults and bounds for container resources.
#include <algorithm>

#include "api/admission/plugins.h"
#include "api/admission/pod_specs.h"
#include "api/quantity/quantity.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

// Says in set what it filled: "cpu, memory limit for container web".
void fill(json::Value& container, std::string_view list, std::string_view kind, const json::Object* defaults, std::vector<std::string>& set) {
  if (defaults == nullptr) return;
  std::vector<std::string> names;
  for (const auto& [name, value] : *defaults) {
    json::Value& slot = json::at_path(container, {"resources", kind, std::string_view(name)});
    if (!slot.is_null()) continue;
    slot = value;
    names.emplace_back(std::string_view(name));
  }
  if (names.empty()) return;
  std::ranges::sort(names);
  set.push_back(cat(join(names, ", "), kind == "limits" ? " limit for " : " request for ", list == "initContainers" ? "init container " : "container ", json::get_string(container, {"name"})));
}

std::optional<Quantity> quantity_at(const json::Value& container, std::string_view kind, std::string_view name) {
  std::string_view text = json::get_string(container, {"resources", kind, name});
  if (text.empty()) return std::nullopt;
  auto parsed = parse_quantity(text);
  return parsed ? std::optional<Quantity>(*parsed) : std::nullopt;
}

void check_bounds(const json::Value& container, const json::Value& limit, std::vector<std::string>& problems) {
  if (const json::Object* least = json::get_object(limit, {"min"})) {
    for (const auto& [key, value] : *least) {
      std::string_view name(key);
      auto bound = parse_quantity(value.is_string() ? std::string_view(value.get_string()) : std::string_view());
      if (!bound) continue;
      auto asked = quantity_at(container, "requests", name);
      if (!asked) problems.push_back(cat("minimum ", name, " usage per Container is ", bound->text(), ".  No request is specified"));
      else if (*asked < *bound) problems.push_back(cat("minimum ", name, " usage per Container is ", bound->text(), ", but request is ", asked->text()));
    }
  }
  if (const json::Object* most = json::get_object(limit, {"max"})) {
    for (const auto& [key, value] : *most) {
      std::string_view name(key);
      auto bound = parse_quantity(value.is_string() ? std::string_view(value.get_string()) : std::string_view());
      if (!bound) continue;
      auto cap = quantity_at(container, "limits", name);
      if (!cap) problems.push_back(cat("maximum ", name, " usage per Container is ", bound->text(), ".  No limit is specified"));
      else if (*cap > *bound) problems.push_back(cat("maximum ", name, " usage per Container is ", bound->text(), ", but limit is ", cap->text()));
    }
  }
}

class LimitRanger final : public AdmissionPlugin {
 public:
  explicit LimitRanger(CacheSet& caches) : caches_(caches) {}
  std::string_view name() const override { return "LimitRanger"; }
  bool handles(const AdmissionRequest& request) const override {
    return request.operation == Operation::kCreate && request.is("", "pods") && request.subresource.empty() && any_range();
  }

  async::Task<Outcome<>> mutate(AdmissionRequest& request) override {
    std::vector<std::string> set;
    for (const json::Value& limit : container_limits(request.ns)) {
      each_container(*request.object, [&](json::Value& container, std::string_view list) {
        const json::Object* requests = json::get_object(limit, {"defaultRequest"});
        fill(container, list, "requests", requests != nullptr ? requests : json::get_object(limit, {"default"}), set);
        fill(container, list, "limits", json::get_object(limit, {"default"}), set);
      });
    }
    if (!set.empty()) json::at_path(*request.object, {"metadata", "annotations", "kubernetes.io/limit-ranger"}) = cat("LimitRanger plugin set: ", join(set, "; "));
    co_return Outcome<>();
  }

  async::Task<Outcome<>> validate(AdmissionRequest& request) override {
    std::vector<std::string> problems;
    for (const json::Value& limit : container_limits(request.ns))
      each_container(*request.object, [&](json::Value& container, std::string_view) { check_bounds(container, limit, problems); });
    if (problems.empty()) co_return Outcome<>();
    co_return refuse(forbidden(request.ref(), request.name, problems.size() == 1 ? problems.front() : cat('[', join(problems, ", "), ']')));
  }

 private:
  bool any_range() const {
    WatchCache* ranges = caches_.find("", "limitranges");
    return ranges != nullptr && !ranges->objects().empty();
  }

  std::vector<json::Value> container_limits(const std::string& ns) const {
    std::vector<json::Value> out;
    WatchCache* ranges = caches_.find("", "limitranges");
    std::string prefix = cat(ns, '/');
    for (auto it = ranges->first_of(ns); it != ranges->objects().end() && (*it)->key().starts_with(prefix); ++it) {
      json::Value tree = (*it)->tree();
      if (const json::Array* limits = json::get_array(tree, {"spec", "limits"}))
        for (const json::Value& limit : *limits)
          if (json::get_string(limit, {"type"}) == "Container") out.push_back(limit);
    }
    return out;
  }

  CacheSet& caches_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_limit_ranger(const AdmissionParts& parts) { return std::make_unique<LimitRanger>(parts.caches); }

}  // namespace monopod::api
