#include "controllers/job_indexes.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::controllers {

IndexSet IndexSet::parse(std::string_view text, std::int64_t end) {
  IndexSet out;
  for (std::string_view part : split(text, ',')) {
    auto [from, to] = split_once(part, '-');
    auto first = parse_int<std::int64_t>(from), last = to ? parse_int<std::int64_t>(*to) : first;
    if (!first || !last || *first < 0 || *first > *last || *first >= end) continue;
    out.add_range(*first, std::min(*last, end - 1));
  }
  return out;
}

std::string IndexSet::format() const {
  std::string out;
  for (auto [first, last] : ranges_) {
    if (!out.empty()) out += ',';
    out += std::to_string(first);
    if (last > first) out += cat(last == first + 1 ? ',' : '-', last);
  }
  return out;
}

bool IndexSet::contains(std::int64_t index) const {
  auto after = ranges_.upper_bound(index);
  return after != ranges_.begin() && std::prev(after)->second >= index;
}

std::int64_t IndexSet::next_absent(std::int64_t from) const {
  auto after = ranges_.upper_bound(from);
  return after != ranges_.begin() && std::prev(after)->second >= from ? std::prev(after)->second + 1 : from;
}

void IndexSet::add_range(std::int64_t first, std::int64_t last) {
  auto it = ranges_.upper_bound(first);
  if (it != ranges_.begin() && std::prev(it)->second >= first - 1) --it;
  while (it != ranges_.end() && it->first <= last + 1) {  // joins what it touches
    first = std::min(first, it->first);
    last = std::max(last, it->second);
    it = ranges_.erase(it);
  }
  ranges_[first] = last;
}

std::int64_t IndexSet::size() const {
  std::int64_t n = 0;
  for (auto [first, last] : ranges_) n += last - first + 1;
  return n;
}

std::int64_t IndexSet::common(const IndexSet& other) const {
  std::int64_t n = 0;
  auto a = ranges_.begin(), b = other.ranges_.begin();
  while (a != ranges_.end() && b != other.ranges_.end()) {
    n += std::max<std::int64_t>(0, std::min(a->second, b->second) - std::max(a->first, b->first) + 1);
    a->second < b->second ? ++a : ++b;
  }
  return n;
}

}  // namespace monopod::controllers
