// Values by log row: those that must be in memory (pending commit, volatile) and a bounded number of recently used others.
#pragma once

#include <deque>
#include <unordered_map>

#include "store/row.h"

namespace monopod::store {

class ValueCache {
 public:
  // Null if it is not in memory.
  SharedBytes find(RowId row) const;
  // Held until unpin().
  void pin(RowId row, SharedBytes value) { pinned_[row] = std::move(value); }
  // Kept as a recent value if keep, else forgotten.
  void unpin(RowId row, bool keep);
  bool pinned(RowId row) const { return pinned_.contains(row); }
  void add(RowId row, SharedBytes value);

  std::size_t bytes() const { return bytes_; }

 private:
  std::unordered_map<RowId, SharedBytes> pinned_;
  std::unordered_map<RowId, SharedBytes> recent_;
  std::deque<RowId> order_;  // of recent_, oldest first
  std::size_t bytes_ = 0;    // of recent_
};

}  // namespace monopod::store
