#include "store/key_index.h"

#include <algorithm>

namespace monopod::store {

const Version* KeyIndex::Entry::visible_at(std::int64_t revision) const {
  const Version* found = nullptr;
  if (latest.revision() <= revision) {
    found = &latest;
  } else if (older) {
    auto after = std::upper_bound(older->begin(), older->end(), revision, [](std::int64_t r, const Version& v) { return r < v.revision(); });
    if (after != older->begin()) found = &*std::prev(after);
  }
  return found && !found->tombstone() ? found : nullptr;
}

KeyIndex::Place KeyIndex::lower_bound(std::string_view key) const {
  // The last block that begins at or before key; the answer is in it or at the start of the next.
  auto after = std::upper_bound(blocks_.begin(), blocks_.end(), key, [](std::string_view k, const auto& b) { return k < b->front().key; });
  if (after == blocks_.begin()) return {0, 0};
  std::size_t block = static_cast<std::size_t>(after - blocks_.begin()) - 1;
  const Block& entries = *blocks_[block];
  auto at = std::lower_bound(entries.begin(), entries.end(), key, [](const Entry& e, std::string_view k) { return e.key < k; });
  return {block, static_cast<std::size_t>(at - entries.begin())};
}

const KeyIndex::Entry* KeyIndex::find(std::string_view key) const {
  Place place = lower_bound(key);
  if (place.block >= blocks_.size()) return nullptr;
  const Block& entries = *blocks_[place.block];
  if (place.slot >= entries.size() || entries[place.slot].key != key) return nullptr;
  return &entries[place.slot];
}

KeyIndex::Entry* KeyIndex::find_mutable(std::string_view key) { return const_cast<Entry*>(find(key)); }

KeyIndex::Entry& KeyIndex::insert(std::string_view key) {
  ++keys_;
  Place place{0, 0};
  if (blocks_.empty()) blocks_.push_back(std::make_unique<Block>());
  else place = lower_bound(key);
  Block* block = blocks_[place.block].get();
  if (block->size() >= kBlockKeys) {
    auto upper = std::make_unique<Block>();
    // Appending in key order leaves full blocks behind; everything else splits in halves.
    bool appends = place.block + 1 == blocks_.size() && place.slot == block->size();
    std::size_t keep = appends ? kBlockKeys : kBlockKeys / 2;
    upper->assign(std::make_move_iterator(block->begin() + static_cast<std::ptrdiff_t>(keep)), std::make_move_iterator(block->end()));
    block->resize(keep);
    bool in_upper = place.slot >= keep && (appends || place.slot > keep);
    Block* upper_block = upper.get();
    blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(place.block) + 1, std::move(upper));
    if (in_upper) {
      block = upper_block;
      place.slot -= keep;
    }
  }
  return *block->insert(block->begin() + static_cast<std::ptrdiff_t>(place.slot), Entry{.key = std::string(key)});
}

void KeyIndex::erase(Place place) {
  Block& block = *blocks_[place.block];
  block.erase(block.begin() + static_cast<std::ptrdiff_t>(place.slot));
  if (block.empty()) blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(place.block));
  --keys_;
}

void KeyIndex::push(std::string_view key, const Version& version) {
  Entry* entry = find_mutable(key);
  if (!entry) {
    entry = &insert(key);
  } else {
    if (!entry->older) entry->older = std::make_unique<std::vector<Version>>();
    entry->older->push_back(entry->latest);
    if (!entry->latest.tombstone()) --live_;
  }
  entry->latest = version;
  ++versions_;
  if (!version.tombstone()) ++live_;
}

void KeyIndex::pop(std::string_view key) {
  Place place = lower_bound(key);
  Entry& entry = (*blocks_[place.block])[place.slot];
  --versions_;
  if (!entry.latest.tombstone()) --live_;
  if (!entry.older) return erase(place);
  entry.latest = entry.older->back();
  entry.older->pop_back();
  if (entry.older->empty()) entry.older.reset();
  if (!entry.latest.tombstone()) ++live_;
}

bool KeyIndex::prune(std::int64_t revision, std::size_t steps, std::string& cursor, std::vector<RowId>& rows) {
  Place place = lower_bound(cursor);
  while (place.block < blocks_.size()) {
    if (place.slot >= blocks_[place.block]->size()) {
      place = {place.block + 1, 0};
      continue;
    }
    Entry& entry = (*blocks_[place.block])[place.slot];
    if (steps == 0) {
      cursor = entry.key;
      return false;
    }
    --steps;
    if (entry.older) {
      // All before the newest version at or below revision go; that one too if it is a tombstone below revision.
      std::vector<Version>& older = *entry.older;
      std::size_t gone = 0;
      while (gone < older.size()) {
        std::int64_t next = gone + 1 < older.size() ? older[gone + 1].revision() : entry.latest.revision();
        bool superseded = next <= revision;
        bool dead = older[gone].tombstone() && older[gone].revision() < revision;
        if (!superseded && !dead) break;
        rows.push_back(older[gone].row);
        ++gone;
      }
      older.erase(older.begin(), older.begin() + static_cast<std::ptrdiff_t>(gone));
      versions_ -= gone;
      if (older.empty()) entry.older.reset();
    }
    if (!entry.older && entry.latest.tombstone() && entry.latest.revision() < revision) {
      rows.push_back(entry.latest.row);
      --versions_;
      std::size_t blocks = blocks_.size();
      erase(place);
      if (blocks_.size() != blocks) place.slot = 0;
      continue;
    }
    ++place.slot;
  }
  cursor.clear();
  return true;
}

}  // namespace monopod::store
