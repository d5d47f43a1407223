// The verbs over any stored resource: what is the same for every kind. Kinds differ by their tables (api/schema), their
// behaviour (api/kinds), admission plugins and the subresource list.
//
//   decode ─> [patch over the live object] ─> defaults ─> admission: mutate ─> prepare ─> managed fields ─> validate
//          ─> admission: validate ─> store (compare mod revision) ─> watch cache ─> answer
#pragma once

#include "api/admission/admission.h"
#include "api/cache/cache_set.h"
#include "api/registry/computed.h"
#include "api/schema/schema.h"
#include "base/rng.h"

namespace monopod::api::crd {
struct CustomKind;
}

namespace monopod::api {

// One request after decoding: everything the verbs and the layers under them need to know about it.
struct Call {
  UserInfo user;
  std::string verb;
  const Resource* resource = nullptr;  // as requested; Registry maps to the stored one
  // Of a custom kind: what holds the row, and the cache of its objects, while the call lasts.
  std::shared_ptr<const crd::CustomKind> kind{};
  std::shared_ptr<WatchCache> cache{};
  std::string ns;
  std::string name;
  std::string subresource;
  WriteOptions options;
  std::string user_agent;             // default field manager
  std::vector<std::string> warnings;  // collected for Warning headers
  std::vector<std::string> patch_faults{};  // what a strict reader minds about the patch document itself
  bool fields_managed = false;        // the object of a create comes with its managedFields made (apply)
  std::string apply_digest{};         // of an apply over HTTP: all that its outcome rests on beside the live object (digest_of_apply)
  bool trusted = false;               // the mutation is the server's own (binding, finalize): no admission, preparation, validation

  ResourceRef ref() const { return {resource->group(), resource->plural()}; }
  std::string manager() const;
};

struct Removed {
  ObjectPtr object;
  bool gone = false;  // false: finalizers or grace keep it
};

// A request to see the live object as something else: old tree in, new tree out, null for the old one. Called again after a conflict. The old
// tree lives as long as the write: what is kept of it longer is assigned to a value elsewhere (json_arena.h), not made as its copy.
using Mutation = std::function<async::Task<Outcome<json::Value>>(const json::Value& old)>;

class Registry {
 public:
  Registry(store::Backend& store, CacheSet& caches, AdmissionChain& admission, async::Time& time, Rng& rng);

  // 404 for resources that are not stored.
  Outcome<WatchCache*> cache_of(const Call& call) const;

  async::Task<Outcome<ObjectPtr>> get(Call& call, std::string resource_version);
  async::Task<Outcome<ListResult>> list(Call& call, ListOptions options);
  async::Task<Outcome<std::unique_ptr<Watcher>>> watch(Call& call, WatchOptions options, std::shared_ptr<const FrameForm> form);

  // object: canonical tree of the stored version.
  async::Task<Outcome<ObjectPtr>> create(Call& call, json::Value object);
  async::Task<Outcome<ObjectPtr>> update(Call& call, json::Value object);
  // patch: the parsed patch document (for kApply the configuration). `created` says whether an apply made the object.
  async::Task<Outcome<ObjectPtr>> patch(Call& call, PatchType type, json::Value patch, bool& created);
  // An apply that patch() has seen to change nothing of this very revision needs neither trees nor a merge; null where that is not known.
  async::Task<Outcome<ObjectPtr>> reapply(const Call& call);
  async::Task<Outcome<Removed>> remove(Call& call, DeleteOptions options);
  async::Task<Outcome<ListResult>> remove_all(Call& call, ListOptions which, DeleteOptions options);

  // Read-modify-write of the stored object with retries on conflict. managed: false where the mutation did the upkeep of
  // managedFields itself (apply).
  async::Task<Outcome<ObjectPtr>> modify(Call& call, Mutation mutation, bool managed = true);

  // Reads of objects' group are answered by it from now on. It outlives the registry's use.
  void serve_computed(ComputedObjects& objects) { computed_.push_back(&objects); }

  CacheSet& caches() { return caches_; }
  async::Time& time() { return time_; }

 private:
  struct Write;
  // No admission plugin has to do with an update that changes nothing.
  // What call names, where some apply is known to change nothing of it; null where none is.
  async::Task<Outcome<ObjectPtr>> find_unchanged(const Call& call);
  bool is_idle_update(const Call& call, const Resource& resource) const;
  ComputedObjects* find_computed(const Call& call) const;
  async::Task<Outcome<ObjectPtr>> create_once(Call& call, const json::Value& object);
  async::Task<Outcome<ObjectPtr>> try_modify(Call& call, WatchCache& cache, ObjectPtr current, const Mutation& mutation, bool managed,
                                             bool& stale);
  // old: the tree of current, in the caller's frame.
  async::Task<Outcome<ObjectPtr>> commit(Call& call, WatchCache& cache, ObjectPtr current, const json::Value& old, json::Value object, bool& stale);
  async::Task<Outcome<Removed>> erase(Call& call, WatchCache& cache, ObjectPtr current, bool& stale);
  async::Task<Outcome<Removed>> try_remove(Call& call, WatchCache& cache, ObjectPtr current, const DeleteOptions& options, bool& stale);
  async::Task<Outcome<ListResult>> list_at(Call& call, WatchCache& cache, Selection selection, std::int64_t revision, std::string start,
                                           std::int64_t limit);

  store::Backend& store_;
  CacheSet& caches_;
  AdmissionChain& admission_;
  async::Time& time_;
  Rng& rng_;
  std::vector<ComputedObjects*> computed_;
};

// SHA-256 over the call's manager, version, subresource and options, and the configuration's bytes. Empty for custom kinds: what an apply of
// theirs comes to depends on a schema that may change.
std::string digest_of_apply(const Call& call, std::string_view body);

// The row that the store holds objects of this resource in (another version of the same group, or events in core).
const Resource& stored_resource(const Resource& resource);

// A list position handed to the client: upstream's shape, base64url of {"v":"meta.k8s.io/v1","rv":N,"start":"key\u0000"}.
struct ContinueToken {
  std::int64_t revision = 0;
  std::string start;
};
std::string format_continue(const ContinueToken& token);
Outcome<ContinueToken> parse_continue(std::string_view text);

}  // namespace monopod::api
