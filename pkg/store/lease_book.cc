#include "store/lease_book.h"

#include <algorithm>

namespace monopod::store {

LeaseEntry* LeaseBook::find(std::int64_t id) {
  auto at = leases_.find(id);
  return at == leases_.end() ? nullptr : &at->second;
}

std::optional<LeaseEntry> LeaseBook::take(std::int64_t id) {
  auto node = leases_.extract(id);
  if (node.empty()) return std::nullopt;
  return std::move(node.mapped());
}

void LeaseBook::attach(std::int64_t id, std::string_view key) {
  if (LeaseEntry* entry = id ? find(id) : nullptr) entry->keys.emplace(key);
}

void LeaseBook::detach(std::int64_t id, std::string_view key) {
  LeaseEntry* entry = id ? find(id) : nullptr;
  if (!entry) return;
  if (auto at = entry->keys.find(key); at != entry->keys.end()) entry->keys.erase(at);
}

std::optional<MonoTime> LeaseBook::next_expiry() const {
  std::optional<MonoTime> next;
  for (const auto& [id, entry] : leases_)
    if (!next || entry.expires < *next) next = entry.expires;
  return next;
}

std::chrono::milliseconds remaining_at(const LeaseEntry& entry, MonoTime now) {
  return std::max(std::chrono::milliseconds(0), std::chrono::ceil<std::chrono::milliseconds>(entry.expires - now));
}

}  // namespace monopod::store
