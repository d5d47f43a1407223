#include "store/watch_hub.h"

#include <algorithm>

#include "store/mvcc.h"

namespace monopod::store {

WatchEvent make_event(const Change& change, const SharedBytes& previous, bool prev_kv) {
  WatchEvent event;
  event.type = change.now.tombstone() ? WatchEvent::Type::kDelete : WatchEvent::Type::kPut;
  event.kv = make_key_value(change.key, change.now, change.value);
  if (!event.kv.value) event.kv.value = share("");
  if (prev_kv && previous && !change.prev.tombstone()) event.prev = make_key_value(change.key, change.prev, previous);
  return event;
}

std::shared_ptr<const WatchEvents> WatchGroup::find_from(std::int64_t revision) const {
  auto at = std::lower_bound(queue_.begin(), queue_.end(), revision, [](const auto& batch, std::int64_t r) { return batch->revision.value < r; });
  return at == queue_.end() ? nullptr : *at;
}

void WatchGroup::push(std::shared_ptr<const WatchEvents> batch) {
  std::int64_t revision = batch->revision.value;
  if (waiting_.size() == watchers) {
    // Everybody has everything before this batch.
    queue_.clear();
    floor_ = std::max(floor_, revision);
  }
  queue_.push_back(std::move(batch));
  if (queue_.size() > kGroupBatchesMax) {
    floor_ = queue_.front()->revision.value + 1;
    queue_.pop_front();
  }
  release(revision);
}

void WatchGroup::forget_until(std::int64_t revision) {
  queue_.clear();
  floor_ = revision;
  release(revision - 1);
}

void WatchGroup::wake_all() { release(0); }

void WatchGroup::release(std::int64_t next) {
  for (WatchPosition* position : std::exchange(waiting_, {})) {
    position->next = std::max(position->next, next);
    position->waiting = false;
    if (position->listener) position->listener();
  }
  changed.wake_all();
}

void WatchGroup::begin_waiting(WatchPosition& position) {
  position.waiting = true;
  position.slot = waiting_.size();
  waiting_.push_back(&position);
}

void WatchGroup::end_waiting(WatchPosition& position) {
  if (!position.waiting) return;
  position.waiting = false;
  waiting_.back()->slot = position.slot;
  waiting_[position.slot] = waiting_.back();
  waiting_.pop_back();
}

WatchGroup& WatchHub::join(const WatchRange& range, std::int64_t committed) {
  auto& slot = groups_[range];
  if (!slot) {
    slot = std::make_unique<WatchGroup>(executor_, range, committed + 1);
    if (range.range_end.empty()) {
      keys_[range.key].push_back(slot.get());
    } else if (!range.key.empty() && range.range_end == prefix_end(range.key)) {
      prefixes_[range.key].push_back(slot.get());
      ++prefix_sizes_[range.key.size()];
    } else {
      others_.push_back(slot.get());
    }
    if (range.prev_kv) ++previous_wanted_;
  }
  ++slot->watchers;
  ++watchers_;
  return *slot;
}

void WatchHub::leave(WatchGroup& group) {
  --watchers_;
  if (--group.watchers > 0) return;
  auto drop = [&](ByText& map) {
    auto at = map.find(group.range.key);
    if (at == map.end()) return false;
    bool erased = std::erase(at->second, &group) > 0;
    if (at->second.empty()) map.erase(at);
    return erased;
  };
  if (group.range.range_end.empty()) {
    drop(keys_);
  } else if (drop(prefixes_)) {
    auto size = prefix_sizes_.find(group.range.key.size());
    if (--size->second == 0) prefix_sizes_.erase(size);
  } else {
    std::erase(others_, &group);
  }
  if (group.range.prev_kv) --previous_wanted_;
  WatchRange range = group.range;
  groups_.erase(range);
}

void WatchHub::find(std::string_view key, std::vector<WatchGroup*>& found) {
  if (auto at = keys_.find(key); at != keys_.end()) found.insert(found.end(), at->second.begin(), at->second.end());
  for (const auto& [size, count] : prefix_sizes_) {
    if (size > key.size()) break;
    if (auto at = prefixes_.find(key.substr(0, size)); at != prefixes_.end()) found.insert(found.end(), at->second.begin(), at->second.end());
  }
  for (WatchGroup* group : others_)
    if (in_range(key, group->range.key, group->range.range_end)) found.push_back(group);
}

bool WatchHub::wants_previous(std::string_view key) {
  if (previous_wanted_ == 0) return false;
  std::vector<WatchGroup*> found;
  find(key, found);
  return std::any_of(found.begin(), found.end(), [](const WatchGroup* group) { return group->range.prev_kv; });
}

void WatchHub::publish(const Committed& committed) {
  if (groups_.empty()) return;
  std::map<WatchGroup*, std::shared_ptr<WatchEvents>> batches;
  std::vector<WatchGroup*> order;  // of first change: who is woken first does not hang on addresses
  std::set<WatchGroup*> incomplete;  // a previous value is only in the log: its watchers read it there
  std::vector<WatchGroup*> found;
  for (const Change& change : committed.changes) {
    found.clear();
    find(change.key, found);
    for (WatchGroup* group : found) {
      auto& batch = batches[group];
      if (!batch) {
        batch = std::make_shared<WatchEvents>(WatchEvents{.revision = Revision(committed.revision)});
        order.push_back(group);
      }
      batch->events.push_back(make_event(change, change.prev_value, group->range.prev_kv));
      if (group->range.prev_kv && !change.prev.tombstone() && !change.prev_value) incomplete.insert(group);
    }
  }
  for (WatchGroup* group : order) {
    if (incomplete.contains(group)) group->forget_until(committed.revision + 1);
    else group->push(std::move(batches[group]));
  }
}

std::size_t WatchHub::waiting() const {
  std::size_t count = 0;
  for (const auto& [range, group] : groups_) count += group->waiting();
  return count;
}

void WatchHub::wake_all() {
  for (auto& [range, group] : groups_) group->wake_all();
}

}  // namespace monopod::store
