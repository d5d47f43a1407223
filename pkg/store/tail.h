// Tail: the newest durable revisions with their changes, in memory and bounded, for watchers that are a little behind.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "store/row.h"

namespace monopod::store {

struct Committed {
  std::int64_t revision = 0;
  std::vector<Change> changes{};
};

class Tail {
 public:
  // Nothing is held yet; revisions from floor on will be.
  void start(std::int64_t floor) { floor_ = floor; }
  void append(std::shared_ptr<const Committed> committed);
  // Every revision from here on is held.
  std::int64_t floor() const { return floor_; }
  // The first revision >= the one given; null if there is none. From floor() on only.
  std::shared_ptr<const Committed> find_from(std::int64_t revision) const;

 private:
  std::deque<std::shared_ptr<const Committed>> entries_;
  std::size_t bytes_ = 0;
  std::int64_t floor_ = 0;
};

}  // namespace monopod::store
