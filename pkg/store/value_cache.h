// Values by log row: those that must be in memory (pending commit, volatile) and a bounded number of recently used others.
#pragma once

#include <deque>
#include <span>
#include <unordered_map>

#include "store/row.h"

namespace monopod::store {

class ValueCache {
 public:
  // Of the recent ones.
  explicit ValueCache(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // Null if it is not in memory.
  SharedBytes find(RowId row) const;
  // Held until unpin().
  void pin(RowId row, SharedBytes value) { values_.insert_or_assign(row, Held{std::move(value), true}); }
  // Kept as a recent value if keep, else forgotten.
  void unpin(RowId row, bool keep);
  bool pinned(RowId row) const {
    auto at = values_.find(row);
    return at != values_.end() && at->second.pinned;
  }
  void add(RowId row, SharedBytes value);
  // What one read found, nulls too; unless it is so large that little else would stay.
  void add_all(std::span<const RowId> rows, std::span<const SharedBytes> values);

  std::size_t bytes() const { return bytes_; }

 private:
  struct Held {
    SharedBytes value{};
    bool pinned = false;
  };
  void forget_oldest();

  std::size_t bytes_max_;
  std::unordered_map<RowId, Held> values_;
  std::deque<RowId> order_;  // of those not pinned, oldest first
  std::size_t bytes_ = 0;    // of those not pinned
};

}  // namespace monopod::store
