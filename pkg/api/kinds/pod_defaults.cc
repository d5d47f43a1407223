// Defaults of pods and pod templates that depend on more than one field.
#include "api/kinds/behaviors.h"

namespace monopod::api::kinds {
namespace {

constexpr const char* kContainerLists[] = {"initContainers", "containers", "ephemeralContainers"};

// The tag is "latest" or none, and there is no digest.
bool is_latest(std::string_view image) {
  if (image.find('@') != std::string_view::npos) {
    std::string_view name = image.substr(0, image.find('@'));
    return name.substr(name.rfind('/') + 1).ends_with(":latest");
  }
  std::string_view last = image.substr(image.rfind('/') + 1);
  std::size_t colon = last.find(':');
  return colon == std::string_view::npos || last.substr(colon + 1) == "latest";
}

void default_requests(Value& container) {
  if (json::get_object(container, {"resources", "limits"}) == nullptr) return;
  Value& requests = json::at_path(container, {"resources", "requests"});
  if (!requests.is_object()) requests.emplace_object();
  // Looked up once requests is there: a member that is added may move the others.
  for (auto& m : *json::get_object(container, {"resources", "limits"}))
    if (requests.get_object().if_contains(m.key()) == nullptr) requests.get_object().emplace(m.key(), m.value());
}

void default_host_ports(Value& container) {
  if (child(container, "ports") == nullptr) return;
  for (Value& port : mutable_items(container, "ports")) {
    if (json::get_int(port, {"hostPort"}) != 0) continue;
    std::int64_t number = json::get_int(port, {"containerPort"});
    if (port.is_object()) port.get_object()["hostPort"] = number;
  }
}

}  // namespace

void default_pod_spec(Value& spec) {
  for (const char* list : kContainerLists) {
    if (child(spec, list) == nullptr) continue;
    for (Value& c : mutable_items(spec, list)) set_missing(c, "imagePullPolicy", is_latest(text(c, "image")) ? "Always" : "IfNotPresent");
  }
  if (child(spec, "volumes") != nullptr) {
    for (Value& v : mutable_items(spec, "volumes"))
      if (v.is_object() && v.get_object().size() == 1 && v.get_object().contains("name")) v.get_object()["emptyDir"].emplace_object();
  }
  // The old spelling is kept beside the new one.
  std::string account(text(spec, "serviceAccountName").empty() ? text(spec, "serviceAccount") : text(spec, "serviceAccountName"));
  if (!account.empty()) {
    spec.get_object()["serviceAccountName"] = account;
    spec.get_object()["serviceAccount"] = account;
  }
}

void default_template(Value& owner_spec) {
  if (Value* spec = json::find(owner_spec, {"template", "spec"})) default_pod_spec(*spec);
}

void default_pod(Value& pod) {
  Value* spec = mutable_child(pod, "spec");
  if (spec == nullptr || !spec->is_object()) return;
  default_pod_spec(*spec);
  set_missing(*spec, "enableServiceLinks", true);
  bool host = json::get_bool(*spec, {"hostNetwork"});
  for (const char* list : {"initContainers", "containers"}) {
    if (child(*spec, list) == nullptr) continue;
    for (Value& c : mutable_items(*spec, list)) {
      default_requests(c);
      if (host) default_host_ports(c);
    }
  }
}

}  // namespace monopod::api::kinds
