// What roles grant, and whether a key range lies within it. Ranges follow etcd's convention (store/types.h).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "etcd/auth/needs.h"

namespace monopod::etcd {

enum class PermissionType { kRead = 0, kWrite = 1, kReadWrite = 2 };  // authpb's numbers

struct Permission {
  PermissionType type = PermissionType::kRead;
  std::string key{};
  std::string range_end{};
};
// Neither without a key nor empty.
bool is_valid_permission(const Permission& permission);

// A union of ranges. Ranges that overlap or touch are one.
class RangeSet {
 public:
  void add(const KeyRange& range);
  // Is all of range in the set? One key is a range; "all keys from here" needs all of them, not the first. Empty ranges are in no set.
  bool covers(const KeyRange& range) const;

 private:
  // Begin to end, half open; kOpen as the end is beyond every key.
  struct End {
    bool open = false;
    std::string key{};
    auto operator<=>(const End&) const = default;  // open ends come last
  };
  static End end_of(const KeyRange& range);
  std::map<std::string, End, std::less<>> ranges_;
};

// All that one user may read and write.
struct Grants {
  RangeSet read{};
  RangeSet write{};
  void add(const Permission& permission);
};

}  // namespace monopod::etcd
