// CustomResourceDefinition as a kind: what api/kinds runs when one is written. apiextensions.k8s.io/v1, validation as of 1.35.
#pragma once

#include "api/schema/field_error.h"
#include "base/clock.h"
#include "codec/json.h"

namespace monopod::api::crd {

inline constexpr std::string_view kCleanupFinalizer = "customresourcecleanup.apiextensions.k8s.io";

void prepare_definition(json::Value& definition);  // status.storedVersions: the storage version
void prepare_definition_update(json::Value& definition, const json::Value& old, std::string_view subresource);
// The finalizer that holds the definition until its objects are gone, and the condition that says so.
void prepare_definition_delete(json::Value& definition, WallTime now);
void validate_definition(const json::Value& definition, FieldErrors& errors);
void validate_definition_update(const json::Value& definition, const json::Value& old, std::string_view subresource, FieldErrors& errors);

// Groups of Kubernetes itself (*.k8s.io, *.kubernetes.io) need an annotation that says where they were approved (KEP-1111).
inline constexpr std::string_view kApproval = "api-approved.kubernetes.io";
bool is_protected(std::string_view group);

// Conditions in status.conditions. Unset: a null view.
std::string_view condition_status(const json::Value& definition, std::string_view type);
struct Condition {
  std::string_view type, status, reason, message;
};
// True where something changed; lastTransitionTime moves with the status alone.
bool set_condition(json::Value& definition, const Condition& condition, WallTime now);

}  // namespace monopod::api::crd
