// What an engine (image, container, network) must remember over a restart: a small durable map. store implements it over
// the node's one SQLite file; tests use MemoryStateStore.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "async/task.h"

namespace monopod::async {

class StateStore {
 public:
  virtual ~StateStore() = default;
  // Durable when it returns. bucket: the engine's own name, e.g. "image"; value up to 1 MiB.
  virtual Task<Result<>> put(std::string bucket, std::string key, std::string value) = 0;
  virtual Task<Result<>> remove(std::string bucket, std::string key) = 0;  // absent is no error
  // All pairs of the bucket, sorted by key.
  virtual Task<Result<std::vector<std::pair<std::string, std::string>>>> list(std::string bucket) = 0;
};

class MemoryStateStore final : public StateStore {
 public:
  Task<Result<>> put(std::string bucket, std::string key, std::string value) override;
  Task<Result<>> remove(std::string bucket, std::string key) override;
  Task<Result<std::vector<std::pair<std::string, std::string>>>> list(std::string bucket) override;

 private:
  std::map<std::pair<std::string, std::string>, std::string> pairs_;
};

}  // namespace monopod::async
