// Exponential waiting per key: 10 s doubling to 5 min, forgotten after ten quiet minutes. For container restarts and image pulls.
#pragma once

#include <algorithm>
#include <map>
#include <string>

#include "base/clock.h"

namespace monopod::agent {

class Backoff {
 public:
  struct Options {
    Duration first = std::chrono::seconds(10);
    Duration max = std::chrono::seconds(300);
    Duration forget_after = std::chrono::seconds(600);
    bool first_is_free = false;  // the first failure waits nothing (container restarts)
  };
  Backoff() = default;
  explicit Backoff(Options options) : options_(options) {}

  // The wait still due before the next attempt; zero when it may start.
  Duration remaining(const std::string& key, MonoTime now) const {
    auto it = entries_.find(key);
    if (it == entries_.end()) return Duration::zero();
    return std::max(Duration::zero(), Duration(it->second.until - now));
  }
  Duration current(const std::string& key) const {
    auto it = entries_.find(key);
    return it == entries_.end() ? Duration::zero() : it->second.wait;
  }
  // An attempt ended (a container exited, a pull failed) at now, having begun at started: the next must wait from now.
  void failed(const std::string& key, MonoTime started, MonoTime now) {
    auto [it, added] = entries_.try_emplace(key);
    Entry& e = it->second;
    if (added || Duration(now - started) > options_.forget_after) e.wait = options_.first_is_free ? Duration::zero() : options_.first;
    else e.wait = e.wait == Duration::zero() ? options_.first : std::min(e.wait * 2, options_.max);
    e.until = now + std::chrono::duration_cast<MonoTime::duration>(e.wait);
  }
  void forget(const std::string& key) { entries_.erase(key); }

 private:
  struct Entry {
    Duration wait = Duration::zero();
    MonoTime until{};
  };
  Options options_;
  std::map<std::string, Entry> entries_;
};

}  // namespace monopod::agent
