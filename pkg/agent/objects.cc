#include "agent/objects.h"

#include "base/bytes.h"

namespace monopod::agent {

std::set<ObjectKey> referenced_objects(const Pod& pod) {
  std::set<ObjectKey> out;
  auto config_map = [&](const std::string& name) { out.insert({ObjectKind::kConfigMap, pod.namespace_name, name}); };
  auto secret = [&](const std::string& name) { out.insert({ObjectKind::kSecret, pod.namespace_name, name}); };
  auto look = [&](const std::vector<Container>& containers) {
    for (const Container& c : containers) {
      for (const EnvVar& e : c.env) {
        if (e.config_map) config_map(e.config_map->name);
        if (e.secret) secret(e.secret->name);
      }
      for (const EnvFrom& e : c.env_from) {
        if (e.config_map) config_map(e.config_map->name);
        if (e.secret) secret(e.secret->name);
      }
    }
  };
  look(pod.init_containers);
  look(pod.containers);
  look(pod.ephemeral_containers);
  for (const Volume& v : pod.volumes)
    for (const ProjectionSource& s : v.sources) {
      if (s.kind == ProjectionSource::Kind::kConfigMap) config_map(s.name);
      if (s.kind == ProjectionSource::Kind::kSecret) secret(s.name);
    }
  return out;
}

ReferencedObjects::Data parse_object_data(ObjectKind kind, const json::Value& object) {
  ReferencedObjects::Data out;
  out.resource_version = json::get_string(object, {"metadata", "resourceVersion"});
  auto take = [&](std::string_view member, bool encoded) {
    const json::Object* data = json::get_object(object, {member});
    if (!data) return;
    for (const auto& pair : *data) {
      if (!pair.value().is_string()) continue;
      std::string_view text = pair.value().get_string();
      if (!encoded) out.values[std::string(pair.key())] = text;
      else if (auto bytes = parse_base64(text)) out.values[std::string(pair.key())] = std::move(*bytes);
    }
  };
  take("data", kind == ObjectKind::kSecret);
  if (kind == ObjectKind::kConfigMap) take("binaryData", true);
  return out;
}

async::Task<Result<ReferencedObjects>> read_references(ObjectReader& reader, const Pod& pod) {
  ReferencedObjects out;
  for (const ObjectKey& key : referenced_objects(pod)) {
    CO_TRY_ASSIGN(auto data, co_await reader.read(key));
    if (!data) continue;
    auto& into = key.kind == ObjectKind::kConfigMap ? out.config_maps : out.secrets;
    into[key.name] = std::move(*data);
  }
  co_return out;
}

namespace {

client::Resource resource_of(ObjectKind kind) { return kind == ObjectKind::kConfigMap ? client::resources::kConfigMaps : client::resources::kSecrets; }

client::InformerOptions options_of(const ObjectKey& key) {
  client::InformerOptions options;
  options.ns = key.ns;
  options.field_selector = "metadata.name=" + key.name;
  return options;
}

}  // namespace

struct ObjectCache::Entry {
  Entry(async::Executor executor, client::Api& api, async::Time& time, Rng& rng, ObjectKey k)
      : key(std::move(k)), informer(executor, api, time, rng, resource_of(key.kind), options_of(key)), scope(executor), dropped(executor) {}
  ObjectKey key;
  client::Informer informer;
  async::Scope scope;    // the informer's coroutine alone
  async::Event dropped;  // no pod wants it any more
  std::set<std::string> pods;
};

ObjectCache::ObjectCache(async::Executor executor, client::Api& api, async::Time& time, Rng& rng)
    : executor_(executor), api_(api), time_(time), rng_(rng), scope_(executor) {}

ObjectCache::~ObjectCache() = default;

void ObjectCache::retain(const std::string& pod_uid, std::set<ObjectKey> keys) {
  std::set<ObjectKey> before = keys.empty() ? std::move(by_pod_[pod_uid]) : std::exchange(by_pod_[pod_uid], keys);
  if (keys.empty()) by_pod_.erase(pod_uid);
  for (const ObjectKey& key : keys) {
    auto& entry = entries_[key];
    if (!entry) {
      entry = std::make_shared<Entry>(executor_, api_, time_, rng_, key);
      Entry* raw = entry.get();  // the handler belongs to the informer, which belongs to the entry
      entry->informer.add_handler([this, raw](const client::ObjectPtr&, const client::ObjectPtr&) {
        if (!on_change || !raw->informer.has_synced()) return;
        std::set<std::string> pods = raw->pods;
        for (const std::string& uid : pods) on_change(uid);
      });
      scope_.spawn(watch_one(entry));
    }
    entry->pods.insert(pod_uid);
  }
  for (const ObjectKey& key : before) {
    if (keys.contains(key)) continue;
    auto found = entries_.find(key);
    if (found == entries_.end()) continue;
    found->second->pods.erase(pod_uid);
    if (!found->second->pods.empty()) continue;
    found->second->dropped.set();
    entries_.erase(found);
  }
}

async::Task<Result<>> ObjectCache::watch_one(std::shared_ptr<Entry> entry) {
  entry->scope.spawn(entry->informer.run());
  auto dropped = co_await entry->dropped.wait();  // forever: while some pod refers to it
  entry->scope.cancel();
  co_await async::asio::this_coro::throw_if_cancelled(false);  // the informer is waited for in any case
  (void)co_await entry->scope.join();
  co_await async::asio::this_coro::throw_if_cancelled(true);
  co_return Result<>();
}

async::Task<Result<std::optional<ReferencedObjects::Data>>> ObjectCache::read(ObjectKey key) {
  auto found = entries_.find(key);
  if (found == entries_.end()) {
    auto object = co_await api_.get(resource_of(key.kind), key.ns, key.name);
    if (!object && object.error().code() == Code::kNotFound) co_return std::optional<ReferencedObjects::Data>();
    if (!object) co_return fail(std::move(object).error());
    co_return std::optional(parse_object_data(key.kind, object->tree()));
  }
  std::shared_ptr<Entry> entry = found->second;
  if (!entry->informer.has_synced())
    CO_TRY(co_await async::with_timeout<void>(time_, std::chrono::seconds(30), "read " + key.name, entry->informer.wait_synced()));
  client::ObjectPtr object = entry->informer.indexer().find(key.ns + "/" + key.name);
  if (!object) co_return std::optional<ReferencedObjects::Data>();
  co_return std::optional(parse_object_data(key.kind, object->tree()));
}

async::Task<Result<>> ObjectCache::run() {
  async::Event never(executor_);
  auto woken = co_await never.wait();  // forever: until cancelled
  scope_.cancel();
  co_await async::asio::this_coro::throw_if_cancelled(false);
  (void)co_await scope_.join();
  co_await async::asio::this_coro::throw_if_cancelled(true);
  co_return woken;
}

}  // namespace monopod::agent
