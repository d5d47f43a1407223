#include "api/convert/convert.h"

#include "api/crd/settle.h"
#include "api/registry/registry.h"

namespace monopod::api {
namespace {

struct Rename {
  std::string_view core;    // core/v1 Event
  std::string_view events;  // events.k8s.io/v1 Event
};
// The two spellings of an Event; every other member is the same in both.
constexpr Rename kEventFields[] = {
    {"involvedObject", "regarding"},
    {"message", "note"},
    {"source", "deprecatedSource"},
    {"firstTimestamp", "deprecatedFirstTimestamp"},
    {"lastTimestamp", "deprecatedLastTimestamp"},
    {"count", "deprecatedCount"},
    {"reportingComponent", "reportingController"},
};

void rename(json::Value& tree, std::string_view from, std::string_view to) {
  json::Object& object = tree.as_object();
  auto it = object.find(from);
  if (it == object.end()) return;
  json::Value value = std::move(it->value());
  object.erase(it);
  object[to] = std::move(value);
}

// autoscaling/v1 knows one target; v2 says it as a metric. What v1 cannot say is carried in v2 only.
json::Value autoscaler_to_v2(json::Value tree) {
  json::Value* spec = json::find(tree, {"spec"});
  if (spec != nullptr && spec->is_object()) {
    json::Object& object = spec->as_object();
    if (auto it = object.find("targetCPUUtilizationPercentage"); it != object.end()) {
      json::Value percent = it->value();
      object.erase("targetCPUUtilizationPercentage");
      object["metrics"] = json::Array{json::Object{
          {"type", "Resource"},
          {"resource", json::Object{{"name", "cpu"}, {"target", json::Object{{"type", "Utilization"}, {"averageUtilization", percent}}}}}}};
    }
  }
  return tree;
}

json::Value autoscaler_to_v1(json::Value tree) {
  json::Value* spec = json::find(tree, {"spec"});
  if (spec != nullptr && spec->is_object()) {
    if (const json::Array* metrics = json::get_array(*spec, {"metrics"})) {
      for (const json::Value& metric : *metrics) {
        if (json::get_string(metric, {"resource", "name"}) != "cpu") continue;
        if (const json::Value* percent = json::find(metric, {"resource", "target", "averageUtilization"}))
          spec->as_object()["targetCPUUtilizationPercentage"] = *percent;
      }
      spec->as_object().erase("metrics");
    }
    spec->as_object().erase("behavior");
  }
  if (json::Value* status = json::find(tree, {"status"}); status != nullptr && status->is_object()) {
    status->as_object().erase("currentMetrics");
    status->as_object().erase("conditions");
  }
  return tree;
}

bool is_autoscaler(const Resource& resource) { return resource.kind() == "HorizontalPodAutoscaler"; }

}  // namespace

const Resource& working_resource(const Resource& requested) { return requested.is_custom ? requested : stored_resource(requested); }

bool is_stored_form(const Resource& resource) {
  if (const crd::CustomResource* custom = resource.custom()) return custom->stored == custom && custom->uniform;
  return &stored_resource(resource) == &resource;
}

json::Value to_stored(json::Value object, const Resource& requested) {
  const Resource& stored = stored_resource(requested);
  if (&stored == &requested || !object.is_object() || requested.is_custom) return object;
  if (requested.group() == "events.k8s.io")
    for (const Rename& field : kEventFields) rename(object, field.events, field.core);
  if (is_autoscaler(requested) && requested.version() == "v1") object = autoscaler_to_v2(std::move(object));
  object.as_object()["apiVersion"] = stored.group_version();
  return object;
}

json::Value to_requested(json::Value object, const Resource& requested) {
  if (const crd::CustomResource* custom = requested.custom()) {
    if (is_stored_form(requested) || !object.is_object()) return object;
    object.get_object()["apiVersion"] = custom->api_version;  // conversion strategy None: the same members under another name
    if (!custom->uniform) (void)canonicalize_tree(object, custom->type_row, {.defaults = true});  // what is stored was an object once
    return object;
  }
  const Resource& stored = stored_resource(requested);
  if (&stored == &requested || !object.is_object()) return object;
  if (requested.group() == "events.k8s.io")
    for (const Rename& field : kEventFields) rename(object, field.core, field.events);
  if (is_autoscaler(requested) && requested.version() == "v1") object = autoscaler_to_v1(std::move(object));
  object.as_object()["apiVersion"] = requested.group_version();
  return object;
}

}  // namespace monopod::api
