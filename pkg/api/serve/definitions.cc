// CustomResourceDefinitions become served kinds, and go with all their objects.
//
//   definition written ─> names decided ─> kind compiled ─> cache opened ─> list of kinds swapped ─> status: Established
//   definition deleted ─> its finalizer holds it ─> no more creates ─> objects deleted ─> list swapped ─> finalizer dropped
//
// The kind is served before its status says so. Requests under way keep the kind they began with.
#include "api/crd/limits.h"
#include "api/crd/naming.h"
#include "api/scan.h"
#include "api/serve/works.h"
#include "api/slice.h"
#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kGroup = "apiextensions.k8s.io", kPlural = "customresourcedefinitions";
constexpr Duration kRetry = std::chrono::seconds(1);

const Resource& definition_row() { return *find_resource(kGroup, kPlural); }

Call definition_call(std::string_view name, std::string_view subresource) {
  Call call;
  call.user = system_user("system:apiserver");
  call.verb = "update";
  call.resource = &definition_row();
  call.name = name;
  call.subresource = subresource;
  call.options.field_manager = "monopod";
  return call;
}

bool same_names(const crd::CustomNames& names, const json::Value& accepted) {
  auto list = [&](const char* member, const std::vector<std::string>& have) {
    const json::Array* wanted = json::get_array(accepted, {member});
    if (wanted == nullptr || wanted->size() != have.size()) return wanted == nullptr && have.empty();
    for (std::size_t i = 0; i < have.size(); ++i)
      if (!(*wanted)[i].is_string() || std::string_view((*wanted)[i].get_string()) != have[i]) return false;
    return true;
  };
  return names.kind == json::get_string(accepted, {"kind"}) && names.list_kind == json::get_string(accepted, {"listKind"}) &&
         names.singular == json::get_string(accepted, {"singular"}) && list("shortNames", names.short_names) && list("categories", names.categories);
}

async::Task<Outcome<json::Value>> with_naming(json::Value live, const crd::NamingDecision& decision, WallTime now) {
  crd::apply_naming(live, decision, now);
  co_return live;
}

async::Task<Outcome<json::Value>> with_condition(json::Value live, crd::Condition condition, WallTime now) {
  crd::set_condition(live, condition, now);
  co_return live;
}

async::Task<Outcome<json::Value>> without_finalizer(json::Value live, WallTime now) {
  crd::set_condition(live, {"Terminating", "False", "InstanceDeletionCompleted", "removed all instances"}, now);
  if (json::Value* list = json::find(live, {"metadata", "finalizers"}); list != nullptr && list->is_array()) {
    json::Array kept;
    for (const json::Value& one : list->get_array())
      if (!one.is_string() || std::string_view(one.get_string()) != crd::kCleanupFinalizer) kept.push_back(one);
    if (kept.empty()) live.get_object().at("metadata").get_object().erase("finalizers");
    else *list = std::move(kept);
  }
  co_return live;
}

// Makes the kind of a definition known: in the list of kinds, with its cache.
class Definitions {
 public:
  explicit Definitions(ServerWorks& works) : works_(works), tasks_(works.parts.executor) {}

  async::Task<Result<>> run() {
    tasks_.spawn(follow());
    co_return co_await tasks_.join();
  }

 private:
  async::Task<Result<>> follow() {
    WatchCache* cache = works_.caches.find(kGroup, kPlural);
    if (cache == nullptr) co_return Result<>();
    while (true) {
      Selection all;
      all.resource = &definition_row();
      std::unique_ptr<Watcher> changes = cache->subscribe(std::move(all), nullptr);
      std::vector<std::string> names;
      for (const ObjectPtr& object : cache->objects()) {
        names.emplace_back(object->name());
        remember(*object);
      }
      std::shared_ptr<const crd::KindSet> served = works_.kinds.snapshot();
      for (const auto& kind : served->kinds)  // whose end was missed
        if (std::string name = cat(kind->names.plural, '.', kind->names.group); !cache->find(name)) names.push_back(std::move(name));
      for (const std::string& name : names) CO_TRY(co_await follow_one(name));
      while (true) {
        while (changes->empty() && !changes->closed()) CO_TRY(co_await changes->wait());
        Result<std::vector<Watcher::Item>> taken = changes->take();
        if (!taken && taken.error().code() == Code::kOutOfRange) break;  // too many at once: look at all of them
        CO_TRY(taken);
        for (const Watcher::Item& item : *taken) CO_TRY(co_await follow_one(std::string(item.event.object->name())));
      }
    }
  }

  void remember(const Object& object) {
    json::Value tree = object.tree();
    if (const json::Value* names = json::find(tree, {"status", "acceptedNames"})) accepted_[std::string(json::get_string(tree, {"spec", "group"}))][std::string(object.name())] = *names;
  }

  async::Task<Result<>> follow_one(std::string name) {
    WatchCache* cache = works_.caches.find(kGroup, kPlural);
    ObjectPtr object = cache->find(name);
    if (!object) co_return co_await retire(name);
    Result<> done = co_await serve(object);
    if (!done && done.error().code() == Code::kCancelled) co_return done;
    if (!done) log::error("custom kind not served", {{"definition", name}, {"error", done.error()}});
    co_return Result<>();
  }

  async::Task<Result<>> serve(ObjectPtr object) {
    const json::Value tree = object->tree();
    std::string group(json::get_string(tree, {"spec", "group"})), name(object->name());
    crd::AcceptedNames& in_group = accepted_[group];
    in_group.erase(name);
    crd::NamingDecision decision = crd::decide_names(tree, in_group);
    if (decision.all && works_.kinds.snapshot()->kinds.size() >= crd::kDefinitionsMax && works_.kinds.snapshot()->find(group, json::get_string(decision.accepted, {"plural"})) == nullptr) {
      decision.all = false;
      decision.condition.status = "False";
      decision.condition.reason = "TooManyDefinitions";
      decision.message = cat("this server serves ", crd::kDefinitionsMax, " custom kinds at most");
    }
    in_group[name] = decision.accepted;
    if (decision.all || crd::condition_status(tree, "Established") == "True") CO_TRY(co_await serve_kind(object, decision.accepted));
    json::Value after = tree;
    if (crd::apply_naming(after, decision, works_.parts.time.wall())) {
      Call call = definition_call(name, "status");
      Mutation mutation = [&](const json::Value& live) { return with_naming(live, decision, works_.parts.time.wall()); };
      Outcome<ObjectPtr> out = co_await works_.registry.modify(call, mutation);
      if (!out && out.error().code != 404) co_return fail(out.error().error());
    }
    if (object->deleting()) begin_cleanup(object);
    co_return Result<>();
  }

  async::Task<Result<>> serve_kind(ObjectPtr object, const json::Value& accepted) {
    std::shared_ptr<const crd::KindSet> set = works_.kinds.snapshot();
    const json::Value tree = object->tree();
    std::string group(json::get_string(tree, {"spec", "group"})), plural(json::get_string(accepted, {"plural"}));
    const crd::CustomKind* known = set->find(group, plural);
    bool same_life = known != nullptr && known->uid == object->uid();
    if (same_life && scan_path(*known->definition, "spec") == scan_path(*object->json(), "spec") && same_names(known->names, accepted)) co_return Result<>();
    if (cleaned_.contains(std::string(object->uid()))) co_return Result<>();  // nothing of it is left, only others' finalizers hold it
    auto compile = [&] { return crd::make_kind(object->json(), accepted); };
    Result<std::shared_ptr<const crd::CustomKind>> made = co_await works_.parts.pool.run(compile);
    CO_TRY(made);
    std::shared_ptr<const crd::CustomKind> kind = *made;
    std::shared_ptr<WatchCache> cache = works_.caches.find_shared(group, plural);
    if (!cache || !same_life) {
      if (cache) works_.caches.close(group, plural);
      CO_TRY(co_await works_.caches.open(*kind->storage, kind));
      works_.kinds.put(kind);
      co_return Result<>();
    }
    cache->rebind(*kind->storage, kind);
    works_.kinds.put(kind);
    cache->close_watchers();
    co_return co_await refresh(*cache);
  }

  // What is cached takes the form of the new schema, slice by slice; what is written meanwhile has it already.
  async::Task<Result<>> refresh(WatchCache& cache) {
    std::vector<std::string> keys;
    for (const ObjectPtr& object : cache.objects()) keys.emplace_back(object->key());
    Slice slice;
    for (const std::string& key : keys) {
      cache.refresh(key);
      if (slice.spent()) CO_TRY(co_await slice.yield());
    }
    co_return Result<>();
  }

  void forget_kind(std::string_view group, std::string_view plural) {
    works_.kinds.erase(group, plural);
    works_.caches.close(group, plural);
  }

  // The definition is gone. Its names are free: who waits for one gets it now.
  async::Task<Result<>> retire(std::string name) {
    std::size_t dot = name.find('.');
    if (dot == std::string::npos) co_return Result<>();
    std::string plural = name.substr(0, dot), group = name.substr(dot + 1);
    if (std::shared_ptr<const crd::KindSet> set = works_.kinds.snapshot(); const crd::CustomKind* known = set->find(group, plural)) {
      cleaned_.erase(known->uid);
      forget_kind(group, plural);
    }
    auto in_group = accepted_.find(group);
    if (in_group == accepted_.end() || in_group->second.erase(name) == 0) co_return Result<>();
    std::vector<std::string> waiting;
    for (const auto& [other, names] : in_group->second) waiting.push_back(other);
    for (const std::string& other : waiting)
      if (ObjectPtr object = definition(other)) CO_TRY(co_await serve(object));
    co_return Result<>();
  }

  ObjectPtr definition(const std::string& name) const {
    WatchCache* cache = works_.caches.find(kGroup, kPlural);
    return cache->find(name);
  }

  void begin_cleanup(const ObjectPtr& object) {
    std::string uid(object->uid());
    if (cleaning_.contains(uid) || cleaned_.contains(uid)) return;
    cleaning_.insert(uid);
    tasks_.spawn(clean_up(object));
  }

  async::Task<Result<>> clean_up(ObjectPtr object) {
    Result<> done;
    while (true) {
      done = co_await remove_all(object);
      if (done || done.error().code() == Code::kCancelled || done.error().code() == Code::kUnavailable) break;
      log::warn("custom objects not deleted, trying again", {{"definition", object->name()}, {"error", done.error()}});
      CO_TRY(co_await works_.parts.time.sleep_for(kRetry));
    }
    cleaning_.erase(std::string(object->uid()));
    if (!done && done.error().code() == Code::kCancelled) co_return done;
    co_return Result<>();  // kUnavailable: the definition itself went meanwhile
  }

  async::Task<Result<>> remove_all(ObjectPtr object) {
    const json::Value tree = object->tree();
    std::string group(json::get_string(tree, {"spec", "group"})), plural(json::get_string(tree, {"spec", "names", "plural"})), name(object->name());
    std::shared_ptr<const crd::KindSet> set = works_.kinds.snapshot();
    std::shared_ptr<WatchCache> cache = works_.caches.find_shared(group, plural);
    const crd::CustomKind* kind = set->find(group, plural);
    if (cache && kind != nullptr && kind->uid == object->uid()) {
      cache->closed_to_creates = true;
      Call begin = definition_call(name, "status");
      Mutation progress = [this](const json::Value& live) {
        return with_condition(live, {"Terminating", "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress"}, works_.parts.time.wall());
      };
      (void)co_await works_.registry.modify(begin, progress);
      CO_TRY(co_await empty(*cache, *kind, set));
      cleaned_.insert(std::string(object->uid()));
      forget_kind(group, plural);
    }
    Call end = definition_call(name, "");
    end.trusted = true;
    Mutation finish = [this](const json::Value& live) { return without_finalizer(live, works_.parts.time.wall()); };
    Outcome<ObjectPtr> out = co_await works_.registry.modify(end, finish);
    if (!out && out.error().code != 404) co_return fail(out.error().error());
    CO_TRY(co_await works_.caches.fresh());
    if (ObjectPtr left = definition(name); !left || left->uid() != object->uid()) cleaned_.erase(std::string(object->uid()));
    co_return Result<>();
  }

  // Deletes what there is and waits for what finalizers hold.
  async::Task<Result<>> empty(WatchCache& cache, const crd::CustomKind& kind, std::shared_ptr<const crd::KindSet> keep) {
    Selection all;
    all.resource = kind.storage;
    std::unique_ptr<Watcher> changes = cache.subscribe(std::move(all), nullptr);
    while (true) {
      CO_TRY(co_await works_.caches.fresh());
      if (cache.objects().empty()) co_return Result<>();
      std::vector<ObjectPtr> objects(cache.objects().begin(), cache.objects().end());
      for (const ObjectPtr& object : objects) {
        if (object->deleting()) continue;
        Call call = definition_call(object->name(), "");
        call.verb = "delete";
        call.resource = kind.storage;
        call.kind = std::shared_ptr<const crd::CustomKind>(keep, &kind);
        call.cache = works_.caches.find_shared(kind.names.group, kind.names.plural);
        if (call.cache.get() != &cache) co_return fail(Code::kUnavailable, "the definition is gone");
        call.ns = object->ns();
        Outcome<Removed> gone = co_await works_.registry.remove(call, {.propagation_policy = "Background"});
        if (!gone && gone.error().code != 404) co_return fail(gone.error().error());
      }
      CO_TRY(co_await works_.caches.fresh());
      if (cache.objects().empty()) co_return Result<>();
      while (changes->empty() && !changes->closed()) CO_TRY(co_await changes->wait());
      Result<std::vector<Watcher::Item>> taken = changes->take();
      if (!taken && taken.error().code() == Code::kOutOfRange) {
        Selection again;
        again.resource = kind.storage;
        changes = cache.subscribe(std::move(again), nullptr);
        continue;
      }
      CO_TRY(taken);
    }
  }

  ServerWorks& works_;
  async::Scope tasks_;  // follow() and one clean_up() for each definition that goes
  std::map<std::string, crd::AcceptedNames> accepted_;  // by group
  std::set<std::string> cleaning_, cleaned_;            // uids of definitions that go
};

}  // namespace

async::Task<Result<>> find_custom_kinds(ServerWorks& works) {
  std::string prefix = store_prefix(definition_row());
  store::RangeRequest request{.key = prefix, .range_end = store::prefix_end(prefix)};
  CO_TRY_ASSIGN(store::RangeResult all, co_await works.parts.store.range(request));
  for (const store::KeyValue& kv : all.kvs) {
    auto object = Object::from_store(*kv.value, kv.mod.value);
    if (!object) continue;
    const json::Value tree = (*object)->tree();
    const json::Value* accepted = json::find(tree, {"status", "acceptedNames"});
    if (accepted == nullptr || crd::condition_status(tree, "Established") != "True") continue;
    auto compile = [&] { return crd::make_kind((*object)->json(), *accepted); };
    Result<std::shared_ptr<const crd::CustomKind>> kind = co_await works.parts.pool.run(compile);
    if (!kind) {
      log::error("custom kind not served", {{"definition", (*object)->name()}, {"error", kind.error()}});
      continue;
    }
    works.caches.add(*(*kind)->storage).rebind(*(*kind)->storage, *kind);
    works.kinds.put(std::move(*kind));
  }
  co_return Result<>();
}

async::Task<Result<>> keep_definitions(ServerWorks& works) {
  Definitions definitions(works);
  co_return co_await definitions.run();
}

}  // namespace monopod::api
