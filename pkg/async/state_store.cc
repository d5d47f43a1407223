#include "async/state_store.h"

namespace monopod::async {

Task<Result<>> MemoryStateStore::put(std::string bucket, std::string key, std::string value) {
  pairs_[{std::move(bucket), std::move(key)}] = std::move(value);
  co_return Result<>();
}

Task<Result<>> MemoryStateStore::remove(std::string bucket, std::string key) {
  pairs_.erase({std::move(bucket), std::move(key)});
  co_return Result<>();
}

Task<Result<std::vector<std::pair<std::string, std::string>>>> MemoryStateStore::list(std::string bucket) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [key, value] : pairs_)
    if (key.first == bucket) out.emplace_back(key.second, value);
  co_return out;
}

}  // namespace monopod::async
