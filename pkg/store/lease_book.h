// Leases in memory: time to live on the monotonic clock, and the keys that hang on each.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "base/clock.h"
#include "store/row.h"

namespace monopod::store {

struct LeaseEntry {
  std::chrono::seconds ttl{};
  MonoTime expires{};
  std::chrono::milliseconds stored{};  // remaining time the file has
  std::set<std::string, std::less<>> keys{};
};

class LeaseBook {
 public:
  LeaseEntry* find(std::int64_t id);
  const std::map<std::int64_t, LeaseEntry>& all() const { return leases_; }
  std::map<std::int64_t, LeaseEntry>& all() { return leases_; }
  void insert(std::int64_t id, LeaseEntry entry) { leases_.insert_or_assign(id, std::move(entry)); }
  std::optional<LeaseEntry> take(std::int64_t id);

  // Unknown ids (0 too) are ignored: the lease went together with its keys.
  void attach(std::int64_t id, std::string_view key);
  void detach(std::int64_t id, std::string_view key);

  std::optional<MonoTime> next_expiry() const;

 private:
  std::map<std::int64_t, LeaseEntry> leases_;
};

// What is left at now, never negative.
std::chrono::milliseconds remaining_at(const LeaseEntry& entry, MonoTime now);

}  // namespace monopod::store
