// The informer lags behind our own writes. A controller that created two pods must not count the cache and create two more:
// it expects two additions, and counts again only when they were seen or five minutes have passed.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>

#include "base/clock.h"

namespace monopod::controllers {

class Expectations {
 public:
  explicit Expectations(const Clock& clock) : clock_(clock) {}

  bool satisfied(const std::string& key) const {
    auto it = entries_.find(key);
    if (it == entries_.end()) return true;
    const Entry& entry = it->second;
    return (entry.additions <= 0 && entry.deletions.empty()) || clock_.mono() - entry.since > kTimeout;
  }
  void expect_additions(const std::string& key, int count) { entry(key).additions += count; }
  void expect_deletion(const std::string& key, std::string uid) { entry(key).deletions.insert(std::move(uid)); }
  void saw_addition(const std::string& key) {
    if (auto it = entries_.find(key); it != entries_.end()) --it->second.additions;
  }
  void saw_deletion(const std::string& key, const std::string& uid) {
    if (auto it = entries_.find(key); it != entries_.end()) it->second.deletions.erase(uid);
  }
  void forget(const std::string& key) { entries_.erase(key); }

 private:
  static constexpr std::chrono::minutes kTimeout{5};
  struct Entry {
    int additions = 0;
    std::unordered_set<std::string> deletions;
    MonoTime since{};
  };
  Entry& entry(const std::string& key) {
    Entry& e = entries_[key];
    e.since = clock_.mono();
    return e;
  }
  const Clock& clock_;
  std::unordered_map<std::string, Entry> entries_;
};

}  // namespace monopod::controllers
