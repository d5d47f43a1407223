// Server-side apply of what is there already, the most frequent one: what keeps a cluster as a repository says applies everything every few
// minutes. An object is immutable, so "this apply changes nothing of it" stays true as long as the object lives, and is kept with it: two
// digests an object, of the last such apply's bytes and of what they say. The first spares reading them; the second, which patch() looks at,
// knows the same configuration in other words.
#include "api/registry/registry.h"
#include "base/strings.h"
#include "pki/digest.h"

namespace monopod::api {

std::string digest_of_apply(const Call& call, std::string_view body) {
  if (call.resource->is_custom || call.options.field_manager.empty()) return {};
  std::string_view parts[] = {call.resource->group_version(), call.subresource, call.options.field_manager, call.options.field_validation, call.options.force ? "force" : ""};
  std::string text;
  for (std::string_view part : parts) text += cat(part.size(), ':', part);
  text += body;
  return pki::sha256(text);
}

async::Task<Outcome<ObjectPtr>> Registry::find_unchanged(const Call& call) {
  if (call.apply_digest.empty()) co_return nullptr;
  CO_OUT_ASSIGN(WatchCache * cache, cache_of(call));
  CO_OUT(co_await caches_.fresh());
  const Resource& resource = cache->resource();
  ObjectPtr current = cache->find(resource.namespaced ? cat(call.ns, '/', call.name) : call.name);
  if (!current || current->deleting() || current->unchanged_by().empty()) co_return nullptr;
  // Admission has its word on every write, and what it says may change: where it wants to see this one, it is asked.
  if (!is_idle_update(call, resource)) co_return nullptr;
  co_return current;
}

async::Task<Outcome<ObjectPtr>> Registry::reapply(const Call& call) {
  CO_OUT_ASSIGN(ObjectPtr known, co_await find_unchanged(call));
  if (known && !known->unchanged_by().starts_with(call.apply_digest)) known = nullptr;
  co_return known;
}

bool Registry::is_idle_update(const Call& call, const Resource& resource) const {
  json::Value unread(json::Object{});
  std::vector<std::string> warnings;
  std::vector<std::function<void(bool)>> on_done;
  return admission_.idle({call.user, Operation::kUpdate, resource, call.ns, call.name, call.subresource, &unread, &unread, call.options.dry_run, warnings, on_done, call.kind});
}

}  // namespace monopod::api
