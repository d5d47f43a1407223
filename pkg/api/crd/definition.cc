#include "api/crd/definition.h"

#include <algorithm>

#include "api/crd/json_path.h"
#include "api/crd/limits.h"
#include "api/crd/structural.h"
#include "api/kinds/behaviors.h"
#include "base/strings.h"

namespace monopod::api::crd {
namespace {

using kinds::child;
using kinds::items;
using kinds::report;
using kinds::text;

std::string_view storage_version(const json::Value& definition) {
  if (const json::Array* versions = json::get_array(definition, {"spec", "versions"}))
    for (const json::Value& version : *versions)
      if (json::get_bool(version, {"storage"})) return text(version, "name");
  return {};
}

void remember_stored(json::Value& definition) {
  std::string stored(storage_version(definition));
  if (stored.empty()) return;
  json::Value& list = json::at_path(definition, {"status", "storedVersions"});
  if (!list.is_array()) list.emplace_array();
  for (const json::Value& one : list.get_array())
    if (one.is_string() && std::string_view(one.get_string()) == stored) return;
  list.get_array().emplace_back(stored);
}

// The path of a member under names[...]: labels as DNS-1035, in any case for kinds.
void check_name(FieldErrors& errors, const Path& path, const json::Value& names, std::string_view member, bool mixed_case) {
  std::string_view name = text(names, member);
  if (name.empty()) return;
  Messages messages = check_dns1035_label(mixed_case ? to_lower(name) : std::string(name));
  if (messages.empty()) return;
  errors.invalid(path[member], name, cat(mixed_case ? "may have mixed case, but should otherwise match: " : "", join(messages, ",")));
}

void check_names(const json::Value& names, const Path& path, FieldErrors& errors) {
  check_name(errors, path, names, "plural", false);
  check_name(errors, path, names, "singular", false);
  check_name(errors, path, names, "kind", true);
  check_name(errors, path, names, "listKind", true);
  for (const char* list : {"shortNames", "categories"}) {
    const json::Array& all = items(names, list);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!all[i].is_string()) continue;
      std::string_view name = all[i].get_string();
      if (Messages messages = check_dns1035_label(name); !messages.empty()) errors.invalid(path[list][i], name, join(messages, ","));
    }
  }
  if (std::string_view kind = text(names, "kind"); !kind.empty() && kind == text(names, "listKind"))
    errors.invalid(path["listKind"], kind, "kind and listKind may not be the same");
}

void check_columns(const json::Value& version, const Path& path, FieldErrors& errors) {
  const json::Array& columns = items(version, "additionalPrinterColumns");
  if (columns.size() > kColumnsMax) errors.too_many(path["additionalPrinterColumns"], columns.size(), kColumnsMax);
  for (std::size_t i = 0; i < columns.size() && i < kColumnsMax; ++i) {
    Path at = path["additionalPrinterColumns"][i];
    std::string_view type = text(columns[i], "type"), format = text(columns[i], "format"), where = text(columns[i], "jsonPath");
    if (text(columns[i], "name").empty()) errors.required(at["name"]);
    constexpr std::string_view kTypes[] = {"boolean", "date", "integer", "number", "string"};
    if (type.empty()) errors.required(at["type"], "must be one of boolean,date,integer,number,string");
    else if (std::ranges::find(kTypes, type) == std::end(kTypes)) errors.invalid(at["type"], type, "must be one of boolean,date,integer,number,string");
    constexpr std::string_view kFormats[] = {"int32", "int64", "float", "double", "byte", "date", "date-time", "password"};
    if (!format.empty() && std::ranges::find(kFormats, format) == std::end(kFormats))
      errors.invalid(at["format"], format, "must be one of byte,date,date-time,double,float,int32,int64,password");
    if (where.empty()) errors.required(at["jsonPath"]);
    else if (auto parsed = parse_json_path(where); !parsed) errors.invalid(at["jsonPath"], where, cat("is an invalid jsonpath: ", parsed.error().message()));
  }
}

void check_path(FieldErrors& errors, const Path& path, std::string_view value, std::string_view root, bool required) {
  if (value.empty()) {
    if (required) errors.required(path);
    return;
  }
  if (auto parsed = parse_simple_path(value); !parsed) errors.invalid(path, value, parsed.error().message());
  else if (!root.empty() && !value.starts_with(root)) errors.invalid(path, value, cat("should be a json path under ", root.substr(0, root.size() - 1)));
}

void check_subresources(const json::Value& version, const Path& path, FieldErrors& errors) {
  const json::Value* scale = json::find(version, {"subresources", "scale"});
  if (scale == nullptr) return;
  Path at = path["subresources"];
  check_path(errors, at["scale.specReplicasPath"], text(*scale, "specReplicasPath"), ".spec.", true);
  check_path(errors, at["scale.statusReplicasPath"], text(*scale, "statusReplicasPath"), ".status.", true);
  std::string_view selector = text(*scale, "labelSelectorPath");
  bool of_spec = selector.starts_with(".spec.");
  check_path(errors, at["scale.labelSelectorPath"], selector, of_spec ? "" : ".status.", false);
}

void check_selectable(const json::Value& version, const Path& path, FieldErrors& errors) {
  const json::Array& fields = items(version, "selectableFields");
  if (fields.size() > kSelectableFieldsMax) errors.too_many(path["selectableFields"], fields.size(), kSelectableFieldsMax);
  const json::Value* schema = json::find(version, {"schema", "openAPIV3Schema"});
  std::vector<std::string> seen;
  for (std::size_t i = 0; i < fields.size() && i < kSelectableFieldsMax; ++i) {
    Path at = path["selectableFields"][i]["jsonPath"];
    std::string_view where = text(fields[i], "jsonPath");
    if (where.empty()) {
      errors.required(at);
      continue;
    }
    if (std::ranges::find(seen, where) != seen.end()) errors.duplicate(at, json::Value(where));
    seen.emplace_back(where);
    auto parsed = parse_simple_path(where);
    if (!parsed) {
      errors.invalid(at, where, cat("is an invalid path: ", parsed.error().message()));
      continue;
    }
    if (parsed->front() == "metadata") {
      errors.invalid(at, where, "must not point to fields in metadata");
      continue;
    }
    const json::Value* property = schema;
    for (const std::string& name : *parsed) property = property == nullptr ? nullptr : json::find(*property, {"properties", name});
    if (property == nullptr) {
      errors.invalid(at, where, cat("is an invalid path: does not refer to a valid field"));
      continue;
    }
    std::string_view type = text(*property, "type");
    if (type != "string" && type != "boolean" && type != "integer") errors.invalid(at, where, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.");
  }
}

void check_version(const json::Value& version, const Path& path, FieldErrors& errors) {
  if (Messages messages = check_dns1035_label(text(version, "name")); !messages.empty()) errors.invalid(path["name"], text(version, "name"), join(messages, ","));
  const json::Value* warning = child(version, "deprecationWarning");
  if (warning != nullptr && !json::get_bool(version, {"deprecated"})) errors.invalid(path["deprecationWarning"], *warning, "can only be set for deprecated versions");
  if (warning != nullptr && warning->is_string() && warning->get_string().size() > 256) errors.too_long(path["deprecationWarning"], 256);
  const json::Value* schema = json::find(version, {"schema", "openAPIV3Schema"});
  if (schema == nullptr) errors.required(path["schema"]["openAPIV3Schema"], "schemas are required");
  else check_schema(*schema, path["schema"]["openAPIV3Schema"], errors);
  check_columns(version, path, errors);
  check_subresources(version, path, errors);
  check_selectable(version, path, errors);
}

void check_versions(const json::Value& spec, const Path& path, FieldErrors& errors) {
  const json::Array& versions = items(spec, "versions");
  if (versions.size() > kVersionsMax) return errors.too_many(path["versions"], versions.size(), kVersionsMax);
  std::vector<std::string> names;
  bool unique = true;
  int stored = 0;
  json::Array shown;  // the names say it; upstream prints the whole list
  for (std::size_t i = 0; i < versions.size(); ++i) {
    std::string name(text(versions[i], "name"));
    unique = unique && std::ranges::find(names, name) == names.end();
    names.push_back(name);
    shown.emplace_back(name);
    stored += json::get_bool(versions[i], {"storage"}) ? 1 : 0;
    check_version(versions[i], path["versions"][i], errors);
  }
  if (!unique) errors.invalid(path["versions"], json::Value(shown), "must contain unique version names");
  if (stored != 1) errors.invalid(path["versions"], json::Value(shown), "must have exactly one version marked as storage version");
}

void check_conversion(const json::Value& spec, const Path& path, FieldErrors& errors) {
  const json::Value* conversion = child(spec, "conversion");
  std::string_view strategy = conversion == nullptr ? std::string_view("None") : text(*conversion, "strategy");
  if (strategy == "Webhook") {
    errors.forbidden(path["conversion"]["strategy"], "conversion webhooks are not supported by this server, only strategy None");
  } else if (strategy != "None") {
    errors.not_supported(path["conversion"]["strategy"], json::Value(strategy), {"None", "Webhook"});
  } else if (conversion != nullptr && child(*conversion, "webhook") != nullptr) {
    errors.forbidden(path["conversion"]["webhook"], "should not be set when strategy is not set to Webhook");
  }
}

void check_approval(const json::Value& definition, std::string_view group, FieldErrors& errors) {
  if (!is_protected(group)) return;
  Path path = Path("metadata")["annotations"].key(kApproval);
  std::string_view approval = json::get_string(definition, {"metadata", "annotations", kApproval});
  if (approval.empty()) errors.required(path, cat("protected groups must have approval annotation \"", kApproval, "\", see https://github.com/kubernetes/enhancements/pull/1111"));
  else if (!approval.starts_with("unapproved") && approval.find("://") == std::string_view::npos)
    errors.invalid(path, approval, cat("protected groups must have approval annotation \"", kApproval, "\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111"));
}

}  // namespace

bool is_protected(std::string_view group) {
  return group == "k8s.io" || group.ends_with(".k8s.io") || group == "kubernetes.io" || group.ends_with(".kubernetes.io");
}

void prepare_definition(json::Value& definition) { remember_stored(definition); }

void prepare_definition_update(json::Value& definition, const json::Value& /*old*/, std::string_view subresource) {
  if (subresource.empty()) remember_stored(definition);
}

void prepare_definition_delete(json::Value& definition, WallTime now) {
  json::Value& finalizers = json::at_path(definition, {"metadata", "finalizers"});
  if (!finalizers.is_array()) finalizers.emplace_array();
  bool known = std::ranges::any_of(finalizers.get_array(), [](const json::Value& f) { return f.is_string() && std::string_view(f.get_string()) == kCleanupFinalizer; });
  if (!known) finalizers.get_array().emplace_back(kCleanupFinalizer);
  set_condition(definition, {"Terminating", "True", "InstanceDeletionPending", "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"}, now);
}

void validate_definition(const json::Value& definition, FieldErrors& errors) {
  const json::Value* spec = child(definition, "spec");
  Path path("spec");
  if (spec == nullptr) return errors.required(path);
  static const json::Value kNone(json::Object{});
  const json::Value* names = child(*spec, "names");
  if (names == nullptr) names = &kNone;
  std::string_view group = text(*spec, "group"), plural = text(*names, "plural"), scope = text(*spec, "scope");
  std::string_view name = json::get_string(definition, {"metadata", "name"});
  if (name != cat(plural, ".", group)) errors.invalid(Path("metadata")["name"], name, "must be spec.names.plural+\".\"+spec.group");
  if (group.empty()) {
    errors.required(path["group"]);
  } else if (Messages messages = check_dns1123_subdomain(group); !messages.empty()) {
    errors.invalid(path["group"], group, join(messages, ","));
  } else if (group.find('.') == std::string_view::npos) {
    errors.invalid(path["group"], group, "should be a domain with at least one dot");
  }
  check_approval(definition, group, errors);
  if (scope.empty()) errors.required(path["scope"]);
  else if (scope != "Cluster" && scope != "Namespaced") errors.not_supported(path["scope"], json::Value(scope), {"Cluster", "Namespaced"});
  for (const char* member : {"plural", "singular", "kind", "listKind"})
    if (text(*names, member).empty()) errors.required(path["names"][member]);
  check_names(*names, path["names"], errors);
  if (json::get_bool(*spec, {"preserveUnknownFields"}))
    errors.invalid(path["preserveUnknownFields"], json::Value(true), "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead");
  check_versions(*spec, path, errors);
  check_conversion(*spec, path, errors);
}

void validate_definition_update(const json::Value& definition, const json::Value& old, std::string_view subresource, FieldErrors& errors) {
  if (!subresource.empty()) {
    if (const json::Value* names = json::find(definition, {"status", "acceptedNames"})) check_names(*names, Path("status")["acceptedNames"], errors);
  } else {
    const json::Value *now = child(definition, "spec"), *before = child(old, "spec");
    if (now == nullptr || before == nullptr) return;
    static const json::Value kNone(json::Object{});
    const json::Value *names = child(*now, "names"), *old_names = child(*before, "names");
    if (names == nullptr) names = &kNone;
    if (old_names == nullptr) old_names = &kNone;
    if (condition_status(old, "Established") == "True") {
      kinds::check_immutable(errors, Path("spec"), *now, *before, "scope");
      kinds::check_immutable(errors, Path("spec")["names"], *names, *old_names, "kind");
    }
    kinds::check_immutable(errors, Path("spec"), *now, *before, "group");
    kinds::check_immutable(errors, Path("spec")["names"], *names, *old_names, "plural");
  }
  // What was stored in a version that is gone could never be read again.
  Path path = Path("status")["storedVersions"];
  const json::Array* stored = json::get_array(definition, {"status", "storedVersions"});
  const json::Array* versions = json::get_array(definition, {"spec", "versions"});
  if (stored == nullptr || versions == nullptr) return;
  std::string_view storage = storage_version(definition);
  bool has_storage = false;
  for (std::size_t i = 0; i < stored->size(); ++i) {
    std::string_view name = (*stored)[i].is_string() ? std::string_view((*stored)[i].get_string()) : std::string_view();
    has_storage = has_storage || name == storage;
    if (std::ranges::none_of(*versions, [&](const json::Value& v) { return text(v, "name") == name; })) errors.invalid(path[i], name, "missing from spec.versions; cannot remove a version that is in storedVersions");
  }
  if (!has_storage) errors.invalid(path, json::Value(*stored), cat("must have the storage version ", storage));
}

std::string_view condition_status(const json::Value& definition, std::string_view type) {
  if (const json::Array* conditions = json::get_array(definition, {"status", "conditions"}))
    for (const json::Value& condition : *conditions)
      if (text(condition, "type") == type) return text(condition, "status");
  return {};
}

bool set_condition(json::Value& definition, const Condition& wanted, WallTime now) {
  json::Value& list = json::at_path(definition, {"status", "conditions"});
  if (!list.is_array()) list.emplace_array();
  json::Object made{{"type", wanted.type}, {"status", wanted.status}, {"reason", wanted.reason}, {"message", wanted.message}, {"lastTransitionTime", format_rfc3339(now)}};
  for (json::Value& condition : list.get_array()) {
    if (text(condition, "type") != wanted.type) continue;
    if (text(condition, "status") == wanted.status) {
      if (text(condition, "reason") == wanted.reason && text(condition, "message") == wanted.message) return false;
      made["lastTransitionTime"] = text(condition, "lastTransitionTime");
    }
    condition = std::move(made);
    return true;
  }
  list.get_array().emplace_back(std::move(made));
  return true;
}

}  // namespace monopod::api::crd
