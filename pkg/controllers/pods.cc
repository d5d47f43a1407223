#include "controllers/pods.h"

#include "base/strings.h"

namespace monopod::controllers {

void add_owner_index(client::Informer& informer) {
  informer.indexer().add_index(std::string(kOwnerIndex), [](const client::Object& object) {
    std::vector<std::string> uids;
    if (object.bytes->find("\"ownerReferences\"") == std::string::npos) return uids;  // spares parsing most objects
    if (auto owner = client::controller_of(object.tree())) uids.push_back(owner->uid);
    return uids;
  });
}

bool is_active(const json::Value& pod) {
  std::string_view phase = phase_of(pod);
  return phase != "Succeeded" && phase != "Failed" && !client::is_deleting(pod);
}

bool is_ready(const json::Value& pod) { return client::condition_status(pod, "Ready") == "True"; }

bool is_available(const json::Value& pod, std::chrono::seconds min_ready, WallTime now) {
  if (!is_ready(pod)) return false;
  if (min_ready.count() == 0) return true;
  const json::Object* ready = client::find_condition(pod, "Ready");
  WallTime since = client::time_at(json::Value(*ready), {"lastTransitionTime"});
  return since + min_ready <= now;
}

json::Value pod_from_template(const json::Value& pod_template, const client::Resource& owner_resource, const client::Object& owner) {
  json::Object metadata;
  if (const json::Object* source = json::get_object(pod_template, {"metadata"}))
    for (std::string_view field : {"labels", "annotations", "finalizers"})
      if (const json::Value* value = source->if_contains(field)) metadata[field] = *value;
  metadata["generateName"] = owner.name + "-";
  metadata["namespace"] = owner.ns;
  metadata["ownerReferences"] = json::Array{client::controller_reference(owner_resource, owner)};
  const json::Value* spec = json::find(pod_template, {"spec"});
  return json::Object{{"apiVersion", "v1"},
                      {"kind", "Pod"},
                      {"metadata", std::move(metadata)},
                      {"spec", spec != nullptr ? *spec : json::Value(json::Object())}};
}

async::Task<Result<client::Object>> put_object(client::Api& api, const client::Resource& resource, const client::Object& object, json::Value tree) {
  return api.update(resource, object.ns, object.name, std::move(tree), {});
}

async::Task<Result<client::Object>> put_status(client::Api& api, const client::Resource& resource, const client::Object& object, json::Value tree) {
  return api.update(resource, object.ns, object.name, std::move(tree), {.subresource = "status"});
}

async::Task<Result<client::Object>> patch_metadata(client::Api& api, const client::Resource& resource, const client::Object& object, json::Object metadata) {
  metadata["uid"] = object.uid;
  return api.patch(resource, object.ns, object.name, client::PatchType::kStrategicMerge, json::Object{{"metadata", std::move(metadata)}}, {});
}

async::Task<Result<>> remove_seen(client::Api& api, const client::Resource& resource, const client::Object& object, client::DeleteOptions options) {
  options.precondition_uid = object.uid;
  Result<> removed = co_await api.remove(resource, object.ns, object.name, std::move(options));
  if (!removed && removed.error().code() != Code::kNotFound && removed.error().code() != Code::kAborted) co_return removed;
  co_return Result<>();
}

async::Task<Result<>> mark_disrupted(client::Api& api, const client::Object& pod, Disruption disruption, WallTime now) {
  json::Object condition{{"type", "DisruptionTarget"}, {"status", "True"}, {"reason", disruption.reason}, {"message", disruption.message}, {"lastTransitionTime", format_rfc3339(now)}};
  json::Object status{{"conditions", json::Array{std::move(condition)}}};
  if (disruption.fails) status["phase"] = "Failed";
  json::Value patch = json::Object{{"metadata", json::Object{{"uid", pod.uid}}}, {"status", std::move(status)}};
  auto patched = co_await api.patch(client::resources::kPods, pod.ns, pod.name, client::PatchType::kStrategicMerge, std::move(patch), {.subresource = "status"});
  if (!patched && patched.error().code() != Code::kNotFound && patched.error().code() != Code::kAborted) co_return fail(patched.error());
  co_return Result<>();
}

bool namespace_is_terminating(const Error& error) {
  return error.code() == Code::kPermissionDenied && error.message().ends_with("because it is being terminated");
}

std::int64_t resolve_int_or_percent(const json::Value* value, std::int64_t total, std::int64_t fallback, bool round_up) {
  if (value == nullptr || value->is_null()) return fallback;
  if (value->is_int64()) return value->get_int64();
  if (!value->is_string()) return fallback;
  std::string_view text = value->get_string();
  if (!text.ends_with('%')) return fallback;
  auto percent = parse_int<std::int64_t>(text.substr(0, text.size() - 1));
  if (!percent) return fallback;
  return (*percent * total + (round_up ? 99 : 0)) / 100;
}

}  // namespace monopod::controllers
