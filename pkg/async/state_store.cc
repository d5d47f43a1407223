#include "async/state_store.h"

namespace monopod::async {

Task<Result<>> StateStore::put(std::string bucket, std::string key, std::string value, Lasts lasts) {
  std::vector<StateChange> changes;
  changes.push_back({.key = std::move(key), .value = std::move(value)});
  return apply(std::move(bucket), std::move(changes), lasts);
}

Task<Result<>> StateStore::remove(std::string bucket, std::string key, Lasts lasts) {
  std::vector<StateChange> changes;
  changes.push_back({.key = std::move(key)});
  return apply(std::move(bucket), std::move(changes), lasts);
}

Task<Result<>> MemoryStateStore::apply(std::string bucket, std::vector<StateChange> changes, Lasts) {
  for (StateChange& change : changes) {
    if (change.value) pairs_[{bucket, std::move(change.key)}] = std::move(*change.value);
    else pairs_.erase({bucket, change.key});
  }
  co_return Result<>();
}

Task<Result<std::vector<std::pair<std::string, std::string>>>> MemoryStateStore::list(std::string bucket) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [key, value] : pairs_)
    if (key.first == bucket) out.emplace_back(key.second, value);
  co_return out;
}

}  // namespace monopod::async
