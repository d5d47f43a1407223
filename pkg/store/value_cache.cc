#include "store/value_cache.h"

namespace monopod::store {
namespace {

constexpr std::size_t kEntryBytes = 128;  // about what the maps need

}  // namespace

SharedBytes ValueCache::find(RowId row) const {
  auto at = values_.find(row);
  return at == values_.end() ? nullptr : at->second.value;
}

void ValueCache::unpin(RowId row, bool keep) {
  auto at = values_.find(row);
  if (at == values_.end() || !at->second.pinned) return;
  std::size_t cost = at->second.value->size() + kEntryBytes;
  if (!keep || cost > bytes_max_ / 8) {
    values_.erase(at);
    return;
  }
  at->second.pinned = false;
  order_.push_back(row);
  bytes_ += cost;
  forget_oldest();
}

void ValueCache::add(RowId row, SharedBytes value) {
  std::size_t cost = value->size() + kEntryBytes;
  if (cost > bytes_max_ / 8 || !values_.emplace(row, Held{std::move(value)}).second) return;
  order_.push_back(row);
  bytes_ += cost;
  forget_oldest();
}

void ValueCache::forget_oldest() {
  while (bytes_ > bytes_max_) {
    auto oldest = values_.find(order_.front());
    bytes_ -= oldest->second.value->size() + kEntryBytes;
    values_.erase(oldest);
    order_.pop_front();
  }
}

void ValueCache::add_all(std::span<const RowId> rows, std::span<const SharedBytes> values) {
  std::size_t cost = rows.size() * kEntryBytes;
  for (const SharedBytes& value : values) cost += value ? value->size() : 0;
  if (cost > bytes_max_ / 4 * 3) return;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (values[i]) add(rows[i], values[i]);
}

}  // namespace monopod::store
