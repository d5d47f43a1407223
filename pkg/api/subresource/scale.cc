// scale: replicas of a workload behind one common shape (autoscaling/v1 Scale).
#include "api/convert/convert.h"
#include "api/crd/kind.h"
#include "api/selector/selector.h"
#include "api/subresource/subresource.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

std::string selector_text(const json::Value& object) {
  const json::Value* selector = json::find(object, {"spec", "selector"});
  if (selector == nullptr || !selector->is_object()) return {};
  if (json::get_string(object, {"kind"}) == "ReplicationController") {
    std::vector<std::string> terms;
    for (const auto& [key, value] : selector->get_object())
      if (value.is_string()) terms.push_back(cat(std::string_view(key), '=', std::string_view(value.get_string())));
    return join(terms, ",");
  }
  auto parsed = make_label_selector(*selector);
  return parsed ? parsed->format() : std::string();
}

// Where a kind has its replicas and its selector.
struct Numbers {
  std::int64_t wanted = 0, ready = 0;
  std::string selector;
};

std::int64_t number_at(const json::Value& tree, const std::vector<std::string>& path) {
  const json::Value* found = crd::find_at(tree, path);
  return found != nullptr && found->is_int64() ? found->get_int64() : 0;
}

Numbers numbers_of(const json::Value& tree, const Resource& resource) {
  const crd::CustomResource* custom = resource.custom();
  if (custom == nullptr) return {json::get_int(tree, {"spec", "replicas"}, 1), json::get_int(tree, {"status", "replicas"}), selector_text(tree)};
  Numbers out{number_at(tree, custom->scale->spec_replicas), number_at(tree, custom->scale->status_replicas), {}};
  const json::Value* selector = custom->scale->label_selector.empty() ? nullptr : crd::find_at(tree, custom->scale->label_selector);
  if (selector != nullptr && selector->is_string()) out.selector = selector->get_string();
  return out;
}

json::Value make_scale_of(const Object& object, const Resource& resource) {
  json::Value tree = resource.is_custom ? to_requested(object.tree(), resource) : object.tree();
  Numbers numbers = numbers_of(tree, resource);
  json::Object meta{{"name", object.name()}, {"namespace", object.ns()}, {"uid", object.uid()}};
  meta["resourceVersion"] = object.resource_version();
  if (const json::Value* created = json::find(tree, {"metadata", "creationTimestamp"})) meta["creationTimestamp"] = *created;
  json::Object status{{"replicas", numbers.ready}};
  if (!numbers.selector.empty()) status["selector"] = numbers.selector;
  json::Object spec;
  if (numbers.wanted != 0) spec["replicas"] = numbers.wanted;
  return json::Object{{"kind", "Scale"}, {"apiVersion", "autoscaling/v1"}, {"metadata", std::move(meta)},
                      {"spec", std::move(spec)}, {"status", std::move(status)}};
}

async::Task<Outcome<json::Value>> with_replicas(json::Value object, const Resource& resource, std::int64_t replicas, std::string version, std::string uid) {
  if (const crd::CustomResource* custom = resource.custom()) {
    json::Value* at = &object;
    for (const std::string& name : custom->scale->spec_replicas) {
      if (!at->is_object()) at->emplace_object();
      at = &at->get_object()[name];
    }
    *at = replicas;
  } else {
    json::at_path(object, {"spec", "replicas"}) = replicas;
  }
  // The Scale's own version and uid are preconditions; an empty one asks for nothing.
  json::at_path(object, {"metadata", "resourceVersion"}) = version;
  if (!uid.empty()) json::at_path(object, {"metadata", "uid"}) = uid;
  co_return object;
}

class Scale final : public SubresourceHandler {
 public:
  explicit Scale(Registry& registry) : registry_(registry) {}
  std::string_view name() const override { return "scale"; }

  async::Task<Outcome<SubresourceAnswer>> get(Call& call) override {
    CO_OUT_ASSIGN(ObjectPtr object, co_await registry_.get(call, ""));
    co_return SubresourceAnswer{200, make_scale_of(*object, *call.resource)};
  }

  async::Task<Outcome<SubresourceAnswer>> update(Call& call, json::Value body) override {
    std::string_view name = json::get_string(body, {"metadata", "name"});
    if (!name.empty() && name != call.name)
      co_return refuse(bad_request(cat("the name of the object (", name, ") does not match the name on the URL (", call.name, ")")));
    std::int64_t replicas = json::get_int(body, {"spec", "replicas"}, 0);
    if (replicas < 0) {
      co_return refuse(invalid("autoscaling", "Scale", call.name,
                               {{"FieldValueInvalid", cat("Invalid value: ", replicas, ": must be greater than or equal to 0"), "spec.replicas"}}));
    }
    std::string version(json::get_string(body, {"metadata", "resourceVersion"}));
    std::string uid(json::get_string(body, {"metadata", "uid"}));
    Mutation mutation = [&](const json::Value& old) { return with_replicas(old, *call.resource, replicas, version, uid); };
    CO_OUT_ASSIGN(ObjectPtr object, co_await registry_.modify(call, mutation));
    co_return SubresourceAnswer{200, make_scale_of(*object, *call.resource)};
  }

 private:
  Registry& registry_;
};

}  // namespace

std::unique_ptr<SubresourceHandler> make_scale(Registry& registry) { return std::make_unique<Scale>(registry); }

}  // namespace monopod::api
