#include "client/volume_match.h"

#include <algorithm>
#include <tuple>

#include "api/quantity/quantity.h"
#include "api/selector/selector.h"
#include "client/node_match.h"

namespace monopod::client {
namespace {

api::Quantity capacity_of(const json::Value& volume) { return api::parse_quantity(json::get_string(volume, {"spec", "capacity", "storage"})).value_or(api::Quantity()); }
api::Quantity request_of(const json::Value& claim) { return api::parse_quantity(json::get_string(claim, {"spec", "resources", "requests", "storage"})).value_or(api::Quantity()); }

bool has_mode(const json::Array* modes, const json::Value& mode) { return modes != nullptr && std::ranges::find(*modes, mode) != modes->end(); }

bool has_all_modes(const json::Value& volume, const json::Value& claim) {
  const json::Array *has = json::get_array(volume, {"spec", "accessModes"}), *wants = json::get_array(claim, {"spec", "accessModes"});
  return wants == nullptr || std::ranges::all_of(*wants, [has](const json::Value& mode) { return has_mode(has, mode); });
}

std::string_view mode_of(const json::Value& object) { return json::get_string(object, {"spec", "volumeMode"}, "Filesystem"); }

bool is_selected(const json::Value& volume, const json::Value& claim) {
  const json::Value* selector = json::find(claim, {"spec", "selector"});
  if (selector == nullptr || !selector->is_object()) return true;
  Result<api::LabelSelector> parsed = api::make_label_selector(*selector);
  return parsed && parsed->matches(labels_of(volume));
}

// What find_volume takes of those that nobody claims.
bool is_candidate(const json::Value& volume, const json::Value& claim) {
  return json::get_string(volume, {"status", "phase"}) == "Available" && json::find(volume, {"spec", "claimRef"}) == nullptr && volume_mismatch(volume, claim).empty() && is_selected(volume, claim);
}

}  // namespace

std::string_view annotation_of(const json::Value& object, std::string_view name) { return json::get_string(object, {"metadata", "annotations", name}); }

std::string_view storage_class_of(const json::Value& object) {
  std::string_view old = annotation_of(object, annotations::kStorageClass);
  return old.empty() ? json::get_string(object, {"spec", "storageClassName"}) : old;
}

bool is_default_class(const json::Value& storage_class) {
  return annotation_of(storage_class, "storageclass.kubernetes.io/is-default-class") == "true" || annotation_of(storage_class, "storageclass.beta.kubernetes.io/is-default-class") == "true";
}

bool delays_binding(const json::Value& storage_class) { return json::get_string(storage_class, {"volumeBindingMode"}) == "WaitForFirstConsumer"; }

std::vector<ClaimUse> claims_of(const json::Value& pod) {
  std::vector<ClaimUse> out;
  const json::Array* volumes = json::get_array(pod, {"spec", "volumes"});
  if (volumes == nullptr) return out;
  for (const json::Value& volume : *volumes) {
    ClaimUse use{.volume = json::get_string(volume, {"name"}), .claim = std::string(json::get_string(volume, {"persistentVolumeClaim", "claimName"}))};
    if (json::find(volume, {"ephemeral"}) != nullptr) {
      use.claim = std::string(name_of(pod)).append("-").append(use.volume);
      use.claim_template = json::find(volume, {"ephemeral", "volumeClaimTemplate"});
    }
    if (!use.claim.empty()) out.push_back(std::move(use));
  }
  return out;
}

bool may_have_claims(const Object& pod) { return pod.bytes->contains("\"persistentVolumeClaim\"") || pod.bytes->contains("\"ephemeral\""); }

bool is_made_for(const json::Value& claim, const Object& pod) {
  std::optional<OwnerReference> owner = controller_of(claim);
  return owner && owner->uid == pod.uid;
}

json::Value claim_reference(const json::Value& claim) {
  return json::Object{{"apiVersion", "v1"}, {"kind", "PersistentVolumeClaim"}, {"namespace", namespace_of(claim)}, {"name", name_of(claim)}, {"uid", uid_of(claim)}, {"resourceVersion", json::get_string(claim, {"metadata", "resourceVersion"})}};
}

bool is_bound_to(const json::Value& volume, const json::Value& claim) {
  const json::Value* reference = json::find(volume, {"spec", "claimRef"});
  if (reference == nullptr || json::get_string(*reference, {"name"}) != name_of(claim) || json::get_string(*reference, {"namespace"}) != namespace_of(claim)) return false;
  std::string_view uid = json::get_string(*reference, {"uid"});
  return uid.empty() || uid == uid_of(claim);
}

bool is_fully_bound(const json::Value& claim) {
  const json::Object* annotations = json::get_object(claim, {"metadata", "annotations"});
  return annotations != nullptr && annotations->contains(annotations::kBindCompleted) && !json::get_string(claim, {"spec", "volumeName"}).empty();
}

std::string_view volume_mismatch(const json::Value& volume, const json::Value& claim) {
  if (is_deleting(volume)) return "the volume is marked for deletion";
  if (capacity_of(volume) < request_of(claim)) return "requested PV is too small";
  if (storage_class_of(volume) != storage_class_of(claim)) return "storageClassName does not match";
  if (json::get_string(volume, {"spec", "volumeAttributesClassName"}) != json::get_string(claim, {"spec", "volumeAttributesClassName"})) return "volumeAttributesClassName does not match";
  if (mode_of(volume) != mode_of(claim)) return "incompatible volumeMode";
  if (!has_all_modes(volume, claim)) return "incompatible accessMode";
  return {};
}

bool volume_fits_node(const json::Value& volume, const json::Value& node) {
  const json::Array* terms = json::get_array(volume, {"spec", "nodeAffinity", "required", "nodeSelectorTerms"});
  return terms == nullptr || std::ranges::any_of(*terms, [&node](const json::Value& term) { return node_term_matches(term, node); });
}

bool class_fits_node(const json::Value& storage_class, const json::Value& node) {
  const json::Array* terms = json::get_array(storage_class, {"allowedTopologies"});
  if (terms == nullptr || terms->empty()) return true;
  const json::Object* labels = labels_of(node);
  auto holds = [labels](const json::Value& expression) {
    const json::Value* label = labels == nullptr ? nullptr : labels->if_contains(json::get_string(expression, {"key"}));
    return label != nullptr && has_mode(json::get_array(expression, {"values"}), *label);
  };
  return std::ranges::any_of(*terms, [&holds](const json::Value& term) {
    const json::Array* expressions = json::get_array(term, {"matchLabelExpressions"});
    return expressions == nullptr || std::ranges::all_of(*expressions, holds);
  });
}

ObjectPtr find_volume(const json::Value& claim, const std::vector<ObjectPtr>& volumes, const VolumeSearch& search) {
  using Rank = std::tuple<std::size_t, api::Quantity, std::string>;  // access modes, size, name: the same of equals every time
  ObjectPtr best;
  Rank best_rank;
  for (const ObjectPtr& object : volumes) {
    if (search.skip && search.skip(*object)) continue;
    json::Value volume = object->tree();
    bool fits_node = search.node == nullptr || volume_fits_node(volume, *search.node);
    if (is_bound_to(volume, claim)) {
      if (is_deleting(volume) || mode_of(volume) != mode_of(claim) || capacity_of(volume) < request_of(claim)) continue;
      return fits_node ? object : nullptr;
    }
    if (search.only_reserved || !fits_node || !is_candidate(volume, claim)) continue;
    const json::Array* modes = json::get_array(volume, {"spec", "accessModes"});
    Rank rank{modes == nullptr ? 0 : modes->size(), capacity_of(volume), object->name};
    if (best && best_rank < rank) continue;
    best = object;
    best_rank = std::move(rank);
  }
  return best;
}

}  // namespace monopod::client
