// A token bucket as one number (virtual scheduling, GCRA: ITU-T I.371): the time at which it will be full again, in microseconds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "proxy/config/spec.h"

namespace monopod::proxy {

struct Bucket {
  std::uint64_t interval_us, share_us;  // share_us: what a token costs
  explicit Bucket(const LocalRateLimitSpec& spec)
      : interval_us(static_cast<std::uint64_t>(spec.interval.count()) * 1000), share_us(std::max<std::uint64_t>(1, interval_us / spec.tokens)) {}
  // The number after a token was taken; nullopt: there is none.
  std::optional<std::uint64_t> take(std::uint64_t full_at_us, std::uint64_t now_us) const {
    std::uint64_t next = std::max(full_at_us, now_us) + share_us;
    return next > now_us + interval_us ? std::nullopt : std::optional(next);
  }
  // How long until there is one.
  std::uint64_t wait_us(std::uint64_t full_at_us, std::uint64_t now_us) const { return full_at_us + share_us - now_us - interval_us; }
};

}  // namespace monopod::proxy
