// What an engine (image, container, network) must remember over a restart: a small durable map. store implements it over
// the node's one SQLite file; tests use MemoryStateStore.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/task.h"

namespace monopod::async {

struct StateChange {
  std::string key{};
  std::optional<std::string> value{};  // absent: remove; that there is none is no error
};

// How long a change has to last. What is about processes, mounts and links means nothing after a reboot: a store that does not sync each
// commit anyway need not sync for it.
enum class Lasts { kForever, kUntilReboot };

class StateStore {
 public:
  virtual ~StateStore() = default;
  // A kill of the process takes nothing back once it has returned, and a power cut nothing that lasts forever, within what the store's own
  // settings promise. bucket: the engine's own name, e.g. "image"; value up to 1 MiB.
  Task<Result<>> put(std::string bucket, std::string key, std::string value, Lasts lasts = Lasts::kForever);
  Task<Result<>> remove(std::string bucket, std::string key, Lasts lasts = Lasts::kForever);
  // All of them or, where it fails or the power does, none.
  virtual Task<Result<>> apply(std::string bucket, std::vector<StateChange> changes, Lasts lasts) = 0;
  // All pairs of the bucket, sorted by key.
  virtual Task<Result<std::vector<std::pair<std::string, std::string>>>> list(std::string bucket) = 0;
};

class MemoryStateStore final : public StateStore {
 public:
  Task<Result<>> apply(std::string bucket, std::vector<StateChange> changes, Lasts lasts) override;
  Task<Result<std::vector<std::pair<std::string, std::string>>>> list(std::string bucket) override;

 private:
  std::map<std::pair<std::string, std::string>, std::string> pairs_;
};

}  // namespace monopod::async
