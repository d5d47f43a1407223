// Config maps and secrets that pods on this node refer to: one watch per object, as a node of a real cluster is allowed to
// have, kept while some pod refers to it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "agent/env.h"
#include "client/informer.h"

namespace monopod::agent {

enum class ObjectKind { kConfigMap, kSecret };

struct ObjectKey {
  ObjectKind kind = ObjectKind::kConfigMap;
  std::string ns;
  std::string name;
  auto operator<=>(const ObjectKey&) const = default;
};

// Every config map and secret that the pod names in env, envFrom and volumes.
std::set<ObjectKey> referenced_objects(const Pod& pod);
// data and binaryData of a config map, data of a secret, decoded.
ReferencedObjects::Data parse_object_data(ObjectKind kind, const json::Value& object);

class ObjectReader {
 public:
  virtual ~ObjectReader() = default;
  // nullopt: the API has none of that name.
  virtual async::Task<Result<std::optional<ReferencedObjects::Data>>> read(ObjectKey key) = 0;
};

// All that the pod names and the API has.
async::Task<Result<ReferencedObjects>> read_references(ObjectReader& reader, const Pod& pod);

class ObjectCache final : public ObjectReader {
 public:
  ObjectCache(async::Executor executor, client::Api& api, async::Time& time, Rng& rng);
  ~ObjectCache() override;

  // What a pod refers to now; empty when it is gone.
  void retain(const std::string& pod_uid, std::set<ObjectKey> keys);
  // A key that no pod retains is asked for directly.
  async::Task<Result<std::optional<ReferencedObjects::Data>>> read(ObjectKey key) override;

  // Called on the loop with the uid of each pod that refers to a changed object.
  std::function<void(const std::string& pod_uid)> on_change;

  // Runs the watches until cancelled.
  async::Task<Result<>> run();

 private:
  struct Entry;
  async::Task<Result<>> watch_one(std::shared_ptr<Entry> entry);

  async::Executor executor_;
  client::Api& api_;
  async::Time& time_;
  Rng& rng_;
  std::map<ObjectKey, std::shared_ptr<Entry>> entries_;
  std::map<std::string, std::set<ObjectKey>> by_pod_;
  async::Scope scope_;
};

}  // namespace monopod::agent
