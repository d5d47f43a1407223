#include "etcd/auth/permissions.h"

#include <algorithm>

namespace monopod::etcd {
namespace {

constexpr std::string_view kOpenEnd("\0", 1);

}  // namespace

bool is_valid_permission(const Permission& permission) {
  if (permission.key.empty()) return false;
  return permission.range_end.empty() || permission.range_end == kOpenEnd || permission.key < permission.range_end;
}

RangeSet::End RangeSet::end_of(const KeyRange& range) {
  if (range.range_end.empty()) return {.key = range.key + '\0'};  // nothing lies between a key and itself with a zero byte
  if (range.range_end == kOpenEnd) return {.open = true};
  return {.key = range.range_end};
}

void RangeSet::add(const KeyRange& range) {
  End end = end_of(range);
  std::string begin = range.key;
  if (!end.open && end.key <= begin) return;
  // The first range that reaches begin, and every one that starts within.
  auto at = ranges_.upper_bound(begin);
  if (at != ranges_.begin() && (std::prev(at)->second.open || std::prev(at)->second.key >= begin)) --at;
  while (at != ranges_.end() && (end.open || at->first <= end.key)) {
    begin = std::min(begin, at->first);
    end = std::max(end, at->second);
    at = ranges_.erase(at);
  }
  ranges_.emplace(std::move(begin), std::move(end));
}

bool RangeSet::covers(const KeyRange& range) const {
  End end = end_of(range);
  if (!end.open && end.key <= range.key) return false;
  auto at = ranges_.upper_bound(range.key);
  return at != ranges_.begin() && std::prev(at)->second >= end;
}

void Grants::add(const Permission& permission) {
  KeyRange range{permission.key, permission.range_end};
  if (permission.type != PermissionType::kWrite) read.add(range);
  if (permission.type != PermissionType::kRead) write.add(range);
}

}  // namespace monopod::etcd
