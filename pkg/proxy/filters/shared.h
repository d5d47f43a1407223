// What filters know that outlives a snapshot: counters, keys that were fetched. Found by a name, gone when no snapshot uses it. Any thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace monopod::proxy {

class Shared {
 public:
  // kind keeps names of different types apart: one T for each.
  template <typename T>
  std::shared_ptr<T> find_or_make(std::string_view kind, std::string_view name) {
    std::lock_guard lock(mutex_);
    std::erase_if(entries_, [](const auto& entry) { return entry.second.expired(); });
    std::weak_ptr<void>& entry = entries_[std::string(kind) + '\n' + std::string(name)];
    if (auto found = std::static_pointer_cast<T>(entry.lock())) return found;
    auto made = std::make_shared<T>();
    entry = made;
    return made;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<void>> entries_;
};

}  // namespace monopod::proxy
