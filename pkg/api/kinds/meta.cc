// ObjectMeta, the same for every kind.
#include "api/kinds/behaviors.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

constexpr std::size_t kAnnotationsBytesMax = 256U << 10;

Messages check_name(const Resource& resource, std::string_view name) {
  const Behavior* behavior = find_behavior(resource.group(), resource.kind());
  if (behavior != nullptr && behavior->validate_name_as_path) return check_path_segment_name(name);
  if (resource.group().empty() && resource.kind() == "Namespace") return check_dns1123_label(name);
  if (resource.group().empty() && resource.kind() == "Service") return check_dns1035_label(name);
  Messages out = check_path_segment_name(name);
  if (out.empty()) out = check_dns1123_subdomain(name);
  return out;
}

void validate_owners(const Array& owners, FieldErrors& errors) {
  Path path("metadata.ownerReferences");
  std::string_view controller;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    for (std::string_view member : {"apiVersion", "kind", "name", "uid"}) {
      if (!text(owners[i], member).empty()) continue;
      if (member == "apiVersion") errors.invalid(path[i][member], "", "version must not be empty");
      else errors.invalid(path[i][member], "", "must not be empty");
    }
    if (!json::get_bool(owners[i], {"controller"})) continue;
    if (!controller.empty())
      errors.invalid(path, Value(owners), cat("Only one reference can have Controller set to true. Found \"true\" in references for ", controller, " and ", text(owners[i], "name")));
    controller = text(owners[i], "name");
  }
}

}  // namespace

void validate_metadata(const Value& object, const Resource& resource, FieldErrors& errors) {
  Path path("metadata");
  const Value* meta = child(object, "metadata");
  if (meta == nullptr) return errors.required(path["name"], "name or generateName is required");
  if (std::string_view generate = text(*meta, "generateName"); !generate.empty()) {
    // A prefix may end in what a name may not.
    std::string whole = cat(generate.ends_with('-') ? generate.substr(0, generate.size() - 1) : generate, "a");
    report(errors, path["generateName"], generate, check_name(resource, whole));
  }
  std::string_view name = text(*meta, "name");
  if (name.empty()) errors.required(path["name"], "name or generateName is required");
  else report(errors, path["name"], name, check_name(resource, name));
  std::string_view ns = text(*meta, "namespace");
  if (resource.namespaced) {
    if (ns.empty()) errors.required(path["namespace"]);
    else report(errors, path["namespace"], ns, check_dns1123_label(ns));
  } else if (!ns.empty()) {
    errors.forbidden(path["namespace"], "not allowed on this type");
  }
  check_labels(errors, path["labels"], child(*meta, "labels"));
  if (const Object* annotations = json::get_object(*meta, {"annotations"})) {
    std::size_t bytes = 0;
    for (auto& m : *annotations) {
      report(errors, path["annotations"], m.key(), check_qualified_name(to_lower(m.key())));
      bytes += m.key().size() + (m.value().is_string() ? m.value().get_string().size() : 0);
    }
    if (bytes > kAnnotationsBytesMax) errors.too_long(path["annotations"], kAnnotationsBytesMax);
  }
  validate_owners(items(*meta, "ownerReferences"), errors);
  const Array& finalizers = items(*meta, "finalizers");
  for (std::size_t i = 0; i < finalizers.size(); ++i) {
    std::string_view f = finalizers[i].is_string() ? std::string_view(finalizers[i].get_string()) : std::string_view();
    report(errors, path["finalizers"], f, check_qualified_name(f));
    if (f.find('/') == std::string_view::npos && f != "kubernetes" && f != "orphan" && f != "foregroundDeletion")
      errors.invalid(path["finalizers"][i], f, "name is neither a standard finalizer name nor is it fully qualified");
  }
}

void validate_metadata_update(const Value& object, const Value& old, FieldErrors& errors) {
  Path path("metadata");
  const Value *now = child(object, "metadata"), *before = child(old, "metadata");
  if (now == nullptr || before == nullptr) return;
  for (std::string_view member : {"name", "namespace", "uid", "creationTimestamp"}) check_immutable(errors, path, *now, *before, member);
  // A deletion cannot be given new finalizers.
  if (child(*before, "deletionTimestamp") == nullptr) return;
  for (const Value& f : items(*now, "finalizers")) {
    bool known = false;
    for (const Value& o : items(*before, "finalizers")) known = known || o == f;
    if (!known) return errors.forbidden(path["finalizers"], cat("no new finalizers can be added if the object is being deleted, found new finalizers []string{", json::format(f), "}"));
  }
}

}  // namespace monopod::api::kinds
