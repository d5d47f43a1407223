// Volumes and classes of them: what no row of rules.cc can say.
#include "api/kinds/behaviors.h"
#include "api/quantity/quantity.h"
#include "base/strings.h"

namespace monopod::api::kinds {
namespace {

// Members of a volume's spec that are no source of it.
constexpr std::string_view kNoSource[] = {"capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions", "volumeMode", "nodeAffinity", "volumeAttributesClassName"};

bool is_source(std::string_view member) {
  for (std::string_view known : kNoSource)
    if (known == member) return false;
  return true;
}

void check_size(const Path& path, std::string_view size, FieldErrors& errors) {
  auto quantity = parse_quantity(size);
  if (quantity && !(*quantity > Quantity())) errors.invalid(path, size, "must be greater than zero");
}

}  // namespace

void validate_volume_claim(const Value& object, FieldErrors& errors) {
  Path path("spec");
  Path at = path["resources"].key("storage");
  std::string_view size = json::get_string(object, {"spec", "resources", "requests", "storage"});
  if (size.empty()) errors.required(at);
  else check_size(at, size, errors);
  if (std::string_view name = json::get_string(object, {"spec", "storageClassName"}); !name.empty()) report(errors, path["storageClassName"], name, check_dns1123_subdomain(name));
}

// A claim's spec is settled but for its size, which may grow once it is bound, and its class of attributes. A volume that was found for it is
// written by whoever binds.
void validate_volume_claim_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors) {
  const Value *now = child(object, "spec"), *before = child(old, "spec");
  if (subresource == "status" || now == nullptr || before == nullptr) return;
  Value settled = *now, was = *before;
  bool bound = json::get_string(old, {"status", "phase"}) == "Bound";
  for (Value* spec : {&settled, &was}) {
    if (text(*before, "volumeName").empty()) spec->get_object().erase("volumeName");
    if (child(*before, "storageClassName") == nullptr) spec->get_object().erase("storageClassName");
    spec->get_object().erase("volumeAttributesClassName");
    if (Value* requests = json::find(*spec, {"resources", "requests"}); bound && requests != nullptr && requests->is_object()) requests->get_object().erase("storage");
  }
  if (settled != was) return errors.forbidden(Path("spec"), "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims");
  auto wanted = parse_quantity(json::get_string(*now, {"resources", "requests", "storage"})), had = parse_quantity(json::get_string(*before, {"resources", "requests", "storage"}));
  if (wanted && had && *wanted < *had) errors.forbidden(Path("spec")["resources"]["requests"]["storage"], "field can not be less than status.capacity");
}

void validate_volume(const Value& object, FieldErrors& errors) {
  Path path("spec");
  const Value* spec = child(object, "spec");
  if (spec == nullptr || !spec->is_object()) return errors.required(path);
  if (std::string_view size = json::get_string(*spec, {"capacity", "storage"}); !size.empty()) check_size(path["capacity"].key("storage"), size, errors);
  std::size_t sources = 0;
  for (auto& m : spec->get_object())
    if (is_source(m.key()) && ++sources > 1) errors.forbidden(path[m.key()], "may not specify more than 1 volume type");
  if (sources == 0) errors.required(path, "must specify a volume type");
}

void validate_volume_update(const Value& object, const Value& old, std::string_view subresource, FieldErrors& errors) {
  const Value *now = child(object, "spec"), *before = child(old, "spec");
  if (subresource == "status" || now == nullptr || before == nullptr || !now->is_object() || !before->is_object()) return;
  for (auto& m : before->get_object()) {
    const Value* is = child(*now, m.key());
    if (is_source(m.key()) && (is == nullptr || *is != m.value()))
      return errors.forbidden(Path("spec")["persistentvolumesource"], "spec.persistentvolumesource is immutable after creation");
  }
  check_immutable(errors, Path("spec"), *now, *before, "volumeMode");
}

void validate_storage_class_update(const Value& object, const Value& old, std::string_view, FieldErrors& errors) {
  for (std::string_view member : {"parameters", "provisioner", "reclaimPolicy"}) {
    const Value *a = child(object, member), *b = child(old, member);
    bool equal = a == nullptr || b == nullptr ? a == b : *a == *b;
    if (!equal) errors.forbidden(Path(std::string(member)), cat("updates to ", member, " are forbidden."));
  }
}

void validate_volume_attachment(const Value& object, FieldErrors& errors) {
  const Value* source = json::find(object, {"spec", "source"});
  bool inlined = source != nullptr && child(*source, "inlineVolumeSpec") != nullptr, named = source != nullptr && !text(*source, "persistentVolumeName").empty();
  if (inlined == named) errors.required(Path("spec")["source"], "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
}

}  // namespace monopod::api::kinds
