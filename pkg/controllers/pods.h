// What controllers ask about pods.
#pragma once

#include "client/informer.h"
#include "client/meta.h"

namespace monopod::controllers {

inline constexpr std::string_view kOwnerIndex = "controller-uid";
// Indexes objects by the uid of their controlling owner. Add before the informer runs; idempotent.
void add_owner_index(client::Informer& informer);

inline std::string_view phase_of(const json::Value& pod) { return json::get_string(pod, {"status", "phase"}); }
// Neither finished nor being deleted.
bool is_active(const json::Value& pod);
bool is_ready(const json::Value& pod);
// Ready for at least min_ready.
bool is_available(const json::Value& pod, std::chrono::seconds min_ready, WallTime now);

// The pod of a template: metadata and spec copied, generateName from the owner, owner reference set.
json::Value pod_from_template(const json::Value& pod_template, const client::Resource& owner_resource, const client::Object& owner);

// Writes about an object as it was seen: tree is what it becomes.
async::Task<Result<client::Object>> put_object(client::Api& api, const client::Resource& resource, const client::Object& object, json::Value tree);
// The status of tree, which is the object's:
async::Task<Result<client::Object>> put_status(client::Api& api, const client::Resource& resource, const client::Object& object, json::Value tree);
// A strategic merge patch of its metadata, refused where it is another object by now.
async::Task<Result<client::Object>> patch_metadata(client::Api& api, const client::Resource& resource, const client::Object& object, json::Object metadata);
// Its deletion; what is gone, or is another by now, needs none. Of options the uid is set.
async::Task<Result<>> remove_seen(client::Api& api, const client::Resource& resource, const client::Object& object, client::DeleteOptions options = {});
// For who counts disruptions (a job's failure policy, for one): the condition DisruptionTarget of a pod that is about to be removed.
struct Disruption {
  std::string_view reason, message;
  bool fails = false;  // the pod's phase becomes Failed also
};
async::Task<Result<>> mark_disrupted(client::Api& api, const client::Object& pod, Disruption disruption, WallTime now);

// A count of a status that is left out where it is zero.
inline void set_count(json::Object& fields, std::string_view field, std::int64_t n) {
  if (n == 0) fields.erase(field);
  else fields[field] = n;
}

// A creation that failed because its namespace is being deleted: nothing to say, and nothing to try again.
bool namespace_is_terminating(const Error& error);

// Number or percentage of total ("25%"); round_up for surge, down for unavailable.
std::int64_t resolve_int_or_percent(const json::Value* value, std::int64_t total, std::int64_t fallback, bool round_up);

}  // namespace monopod::controllers
