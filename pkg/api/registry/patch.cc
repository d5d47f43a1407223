#include "api/patch/patch.h"

#include <map>

#include "api/convert/convert.h"
#include "api/patch/managed_fields.h"
#include "api/registry/registry.h"
#include "api/schema/decode.h"
#include "api/schema/field_error.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

async::Task<Outcome<json::Value>> ready(Outcome<json::Value> value) { co_return value; }

// As Go's %+v prints what it decoded from JSON: "map[a:1 b:[x y]]".
std::string go_text(const json::Value& value) {
  if (const json::Object* object = value.if_object()) {
    std::map<std::string_view, const json::Value*> sorted;
    for (const auto& member : *object) sorted[member.key()] = &member.value();
    std::vector<std::string> parts;
    for (const auto& [name, child] : sorted) parts.push_back(cat(name, ":", go_text(*child)));
    return cat("map[", join(parts, " "), "]");
  }
  if (const json::Array* array = value.if_array()) {
    std::vector<std::string> parts;
    for (const json::Value& item : *array) parts.push_back(go_text(item));
    return cat("[", join(parts, " "), "]");
  }
  if (value.is_null()) return "<nil>";
  return value.is_string() ? std::string(value.get_string()) : json::format(value);
}

Status patch_failure(const Error& error) {
  switch (error.code()) {
    // As upstream, which keeps to itself what did not fit (errors.NewGenericServerResponse of an expected answer).
    case Code::kFailedPrecondition: return {422, "Invalid", "the server rejected our request due to an error in our request"};
    case Code::kResourceExhausted: return too_large(error.message());
    default: return bad_request(error.message());
  }
}

// One patch request: what its mutation needs, owned by the frame of Registry::patch.
struct PatchJob {
  Call& call;
  PatchType type;
  const json::Value& patch;  // kApply: read
  FieldValidation validation;
  FieldManager who;
  std::vector<std::string> warnings{};
  std::int64_t unchanged = 0;  // the revision that the configuration adds nothing to; 0: none

  Outcome<json::Value> patched(const json::Value& live) const {
    if (type == PatchType::kMerge) {
      if (!patch.is_object()) return refuse(bad_request("json: cannot unmarshal the merge patch into an object"));
      return apply_merge_patch(live, patch);
    }
    auto out = type == PatchType::kJson ? apply_json_patch(live, patch) : apply_strategic_merge_patch(live, patch, call.resource->type());
    if (!out) return refuse(patch_failure(out.error()));
    return std::move(*out);
  }

  Outcome<json::Value> merge(const json::Value& live) {
    const Resource& resource = *call.resource;
    OUT_ASSIGN(json::Value merged, patched(live));
    OUT(keep_type(merged));
    auto decoded = decode_tree(std::move(merged), {&resource.type(), resource.group_version(), {}}, validation == FieldValidation::kStrict ? FieldValidation::kWarn : validation);
    if (!decoded) return refuse(misfit(live, decoded.error().message()));
    warnings = call.patch_faults;
    warnings.insert(warnings.end(), decoded->warnings.begin(), decoded->warnings.end());
    if (validation == FieldValidation::kStrict && !warnings.empty()) return refuse(misfit(live, cat("strict decoding error: ", join(warnings, ", "))));
    return std::move(decoded->object);
  }

  // 422 about the field "patch": of a strategic one the patch itself, of the others what they made, as upstream.
  Status misfit(const json::Value& live, std::string_view why) const {
    FieldErrors errors;
    std::string shown = type == PatchType::kStrategic ? go_text(patch) : json::format(*patched(live));
    errors.invalid(Path("patch"), shown, why);
    return parse_status(make_invalid_status("", "", "", errors));
  }

  // A patch makes no object another kind of thing. A strategic one's word on it does not count, as upstream's.
  Outcome<void> keep_type(json::Value& merged) {
    const Resource& resource = *call.resource;
    if (!merged.is_object()) return {};
    std::string_view version = json::get_string(merged, {"apiVersion"}), kind = json::get_string(merged, {"kind"});
    bool other = (!kind.empty() && kind != resource.kind()) || (!version.empty() && version != resource.group_version());
    if (other && type != PatchType::kStrategic)
      return refuse(bad_request(cat("incorrect object type: the patch makes it ", version, ", Kind=", kind, ", expected ", resource.group_version(), ", Kind=", resource.kind())));
    if (kind == resource.kind() && version == resource.group_version()) return {};
    merged.get_object()["apiVersion"] = resource.group_version();
    merged.get_object()["kind"] = resource.kind();
    return {};
  }

  Outcome<json::Value> apply(const json::Value* live) {
    auto applied = apply_read(live, patch, call.resource->type(), who, call.options.force);
    if (!applied) return refuse(patch_failure(applied.error()));
    if (!applied->conflicts.empty()) return refuse(parse_status(make_apply_conflict_status(applied->conflicts)));
    if (!applied->unchanged) return std::move(applied->object);
    unchanged = parse_int<std::int64_t>(json::get_string(*live, {"metadata", "resourceVersion"})).value_or(0);
    return json::Value(nullptr);
  }

  // On the stored tree.
  Outcome<json::Value> run(const json::Value& old) {
    const Resource& resource = *call.resource;
    bool same = is_stored_form(resource);
    json::Value live = same ? json::Value() : to_requested(old, resource);
    const json::Value& base = same ? old : live;
    unchanged = 0;
    OUT_ASSIGN(json::Value out, type == PatchType::kApply ? apply(&base) : merge(base));
    if (out.is_null()) return out;
    if (json::get_string(out, {"metadata", "name"}) != json::get_string(old, {"metadata", "name"}))
      return refuse(bad_request("the name of the object does not match the name on the URL"));
    return to_stored(std::move(out), resource);
  }
};

Outcome<void> check_configuration(const Call& call, const json::Value& configuration) {
  if (!configuration.is_object()) return refuse(bad_request("the applied configuration must be an object"));
  if (call.options.field_manager.empty()) {
    Status status(422, "Invalid", "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
    status.causes.push_back({"FieldValueRequired", "Required value: is required for apply patch", "fieldManager"});
    return refuse(std::move(status));
  }
  std::string_view name = json::get_string(configuration, {"metadata", "name"});
  if (!name.empty() && name != call.name)
    return refuse(bad_request(cat("the name of the object (", name, ") does not match the name on the URL (", call.name, ")")));
  std::string_view version = json::get_string(configuration, {"apiVersion"}), kind = json::get_string(configuration, {"kind"});
  if (kind == call.resource->kind() && !version.empty() && version != call.resource->group_version())
    return refuse(bad_request(cat("Incorrect version specified in apply patch. Specified patch version: ", version, ", expected: ", call.resource->group_version())));
  if (version != call.resource->group_version() || kind != call.resource->kind())
    return refuse(bad_request(cat("incorrect object type: the patch is ", version, ", Kind=", kind, ", expected ",
                                  call.resource->group_version(), ", Kind=", call.resource->kind())));
  return {};
}

}  // namespace

async::Task<Outcome<ObjectPtr>> Registry::patch(Call& call, PatchType type, json::Value patch, bool& created) {
  created = false;
  CO_OUT_ASSIGN(FieldValidation validation, parse_field_validation(call.options.field_validation));
  const Resource& resource = *call.resource;
  PatchJob job{call, type, patch, validation,
               FieldManager{call.manager(), std::string(resource.group_version()), call.subresource, time_.wall()}};
  std::string content;  // the digest of what a configuration says, where it is needed
  if (type == PatchType::kApply) {
    CO_OUT(check_configuration(call, patch));
    json::at_path(patch, {"metadata", "name"}) = call.name;
    if (resource.namespaced) json::at_path(patch, {"metadata", "namespace"}) = call.ns;
    // Its zero values stay as they were sent, and none are added: they would become the applier's own.
    auto read = read_configuration(std::move(patch), resource.type(), job.who);
    if (!read) co_return refuse(patch_failure(read.error()));
    patch = std::move(*read);
    CO_OUT_ASSIGN(ObjectPtr known, co_await find_unchanged(call));
    if (known) content = digest_of_apply(call, json::format(patch));
    if (known && known->unchanged_by().ends_with(content)) {
      known->keep_unchanged_by(call.apply_digest + content);
      co_return known;
    }
  }
  Mutation mutation = [&job](const json::Value& old) { return ready(job.run(old)); };
  Outcome<ObjectPtr> out = co_await modify(call, mutation, type != PatchType::kApply);
  if (!out && out.error().code == 404 && type == PatchType::kApply && call.subresource.empty() &&
      json::get_string(patch, {"metadata", "uid"}).empty()) {
    CO_OUT_ASSIGN(json::Value made, job.apply(nullptr));
    created = true;
    call.fields_managed = true;
    co_return co_await create(call, to_stored(std::move(made), resource));
  }
  bool silent = job.warnings.empty() && call.warnings.empty();  // what is remembered says nothing
  if (out && silent && job.unchanged != 0 && (*out)->revision() == job.unchanged && !call.apply_digest.empty()) {
    if (content.empty()) content = digest_of_apply(call, json::format(patch));
    (*out)->keep_unchanged_by(call.apply_digest + content);
  }
  for (std::string& warning : job.warnings) call.warnings.push_back(std::move(warning));
  co_return out;
}

}  // namespace monopod::api
