// When an object goes: graceful deletion, finalizers, propagation. k8s.io/apiserver rest.BeforeDelete and the garbage
// collector's finalizers.
#pragma once

#include "api/registry/registry.h"

namespace monopod::api {

inline constexpr std::string_view kOrphanFinalizer = "orphan";
inline constexpr std::string_view kForegroundFinalizer = "foregroundDeletion";

// Marked for deletion, its grace over and no finalizer left: the write that made it so removes it.
bool is_finally_deleted(const json::Value& object);

// Seconds between the mark and the removal: pods ask for time, everything else for none.
std::int64_t grace_seconds(const Resource& resource, const json::Value& object, const std::optional<std::int64_t>& asked);

// 400 for an unknown policy.
Outcome<void> check_delete_options(const DeleteOptions& options);

}  // namespace monopod::api
