// Private to who speaks HTTP/2: what a peer may ask for before it is told to calm down.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace monopod::http {

// One event per refill interval, up to a burst.
class Budget {
 public:
  Budget(std::uint32_t burst, std::uint32_t refill_per_second) : burst_(burst), refill_(refill_per_second), left_(burst) {}
  // False: it is used up.
  bool spend(MonoTime now) {
    double elapsed = std::chrono::duration<double>(now - last_).count();
    last_ = now;
    left_ = std::min(burst_, left_ + elapsed * refill_);
    if (left_ < 1) return false;
    left_ -= 1;
    return true;
  }

 private:
  double burst_;
  double refill_;
  double left_;
  MonoTime last_{};
};

}  // namespace monopod::http
