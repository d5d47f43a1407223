#include "store/value_cache.h"

namespace monopod::store {

SharedBytes ValueCache::find(RowId row) const {
  if (auto at = pinned_.find(row); at != pinned_.end()) return at->second;
  if (auto at = recent_.find(row); at != recent_.end()) return at->second;
  return nullptr;
}

void ValueCache::unpin(RowId row, bool keep) {
  auto at = pinned_.find(row);
  if (at == pinned_.end()) return;
  SharedBytes value = std::move(at->second);
  pinned_.erase(at);
  if (keep && value) add(row, std::move(value));
}

void ValueCache::add(RowId row, SharedBytes value) {
  constexpr std::size_t kEntryBytes = 128;  // about what the maps need
  std::size_t cost = value->size() + kEntryBytes;
  if (cost > kValueCacheBytesMax / 8 || !recent_.emplace(row, std::move(value)).second) return;
  order_.push_back(row);
  bytes_ += cost;
  while (bytes_ > kValueCacheBytesMax) {
    auto oldest = recent_.find(order_.front());
    bytes_ -= oldest->second->size() + kEntryBytes;
    recent_.erase(oldest);
    order_.pop_front();
  }
}

}  // namespace monopod::store
