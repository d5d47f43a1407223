// One change of one key, as the log stores it and as the index remembers it.
#pragma once

#include <cstdint>
#include <string>

#include "store/limits.h"
#include "store/types.h"

namespace monopod::store {

// (revision << kSubBits) | sub: the primary key of the log. sub numbers the changes of one revision from 0.
using RowId = std::int64_t;
inline constexpr RowId row_id(std::int64_t revision, std::int64_t sub) { return (revision << kSubBits) | sub; }
inline constexpr std::int64_t revision_of(RowId id) { return id >> kSubBits; }

// What the index keeps of a row: everything but key and value.
struct Version {
  RowId row = 0;             // 0: no such version
  std::int64_t create = 0;   // 0 for a tombstone
  std::int64_t version = 0;  // 0 for a tombstone
  std::int64_t lease = 0;

  bool tombstone() const { return version == 0; }
  std::int64_t revision() const { return revision_of(row); }
};

// A change on its way from a transaction to the log, the index and the watchers.
struct Change {
  std::string key{};
  Version now{};
  SharedBytes value{};       // null for a tombstone
  Version prev{};            // what it replaced; row 0 or a tombstone: nothing
  SharedBytes prev_value{};  // may be null although there was one: then it is in the log only
  bool is_volatile = false;  // never written to the log
  bool want_prev = false;    // a watcher wants prev_value: the commit thread loads it
};

}  // namespace monopod::store
