#include "store/tail.h"

#include <algorithm>

namespace monopod::store {
namespace {

std::size_t bytes_of(const Committed& committed) {
  std::size_t bytes = sizeof(Committed);
  for (const Change& change : committed.changes)
    bytes += sizeof(Change) + change.key.size() + (change.value ? change.value->size() : 0) + (change.prev_value ? change.prev_value->size() : 0);
  return bytes;
}

}  // namespace

void Tail::append(std::shared_ptr<const Committed> committed) {
  bytes_ += bytes_of(*committed);
  entries_.push_back(std::move(committed));
  while (entries_.size() > kTailRevisionsMax || (bytes_ > kTailBytesMax && entries_.size() > 1)) {
    bytes_ -= bytes_of(*entries_.front());
    floor_ = entries_.front()->revision + 1;
    entries_.pop_front();
  }
}

std::shared_ptr<const Committed> Tail::find_from(std::int64_t revision) const {
  auto at = std::lower_bound(entries_.begin(), entries_.end(), revision, [](const auto& entry, std::int64_t r) { return entry->revision < r; });
  return at == entries_.end() ? nullptr : *at;
}

}  // namespace monopod::store
