// KeyIndex: every key in order, each with its versions (newest first by revision), in memory. Two levels: a vector of blocks of
// at most kBlockKeys entries. Lookups are two binary searches; walking is sequential memory. Entries move: no pointer
// into the index survives a change of it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "store/row.h"

namespace monopod::store {

class KeyIndex {
 public:
  struct Entry {
    std::string key;
    Version latest{};
    std::unique_ptr<std::vector<Version>> older{};  // oldest first; null when there is none

    // The version a reader at revision sees; null if the key did not exist then. Tombstones count as absent.
    const Version* visible_at(std::int64_t revision) const;
  };

  const Entry* find(std::string_view key) const;
  // Makes it the latest version of key. Its row must be newer than every row of the key.
  void push(std::string_view key, const Version& version);
  // Takes the latest version back; the key goes with its last version.
  void pop(std::string_view key);
  // Forgets what no reader at or after revision can see, for up to steps entries from cursor on; appends the rows of durable versions to rows.
  // cursor: "" to begin, then as left by the call before; true when the walk is complete.
  bool prune(std::int64_t revision, std::size_t steps, std::string& cursor, std::vector<RowId>& rows);

  // Calls on_entry(entry) for keys in [begin, end) (types.h convention), in order, until it returns false.
  template <typename F>
  void walk(std::string_view begin, std::string_view end, F on_entry) const {
    auto [block, slot] = lower_bound(begin);
    bool open = end == std::string_view("\0", 1);
    for (; block < blocks_.size(); ++block, slot = 0) {
      const std::vector<Entry>& entries = *blocks_[block];
      for (; slot < entries.size(); ++slot) {
        const Entry& entry = entries[slot];
        if (end.empty() ? entry.key != begin : (!open && entry.key >= end)) return;
        if (!on_entry(entry)) return;
      }
    }
  }

  std::size_t keys() const { return keys_; }          // with any version, tombstones too
  std::size_t versions() const { return versions_; }  // all of them
  std::size_t live() const { return live_; }          // whose latest version is no tombstone

 private:
  static constexpr std::size_t kBlockKeys = 128;
  using Block = std::vector<Entry>;
  struct Place {
    std::size_t block;
    std::size_t slot;
  };
  Place lower_bound(std::string_view key) const;
  Entry* find_mutable(std::string_view key);
  Entry& insert(std::string_view key);
  void erase(Place place);

  std::vector<std::unique_ptr<Block>> blocks_;  // none is empty
  std::size_t keys_ = 0;
  std::size_t versions_ = 0;
  std::size_t live_ = 0;
};

}  // namespace monopod::store
