// Counters of one worker, written by it alone and read by whoever asks: a store each, no locked instruction.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace monopod::proxy {

class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void subtract(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed); }
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

inline constexpr std::array<std::uint32_t, 12> kDurationBoundsMs{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 15000};

// Of a listener; by name, so that they outlive reloads.
struct ListenerStats {
  Counter connections_total, connections_active, requests_active, bytes_received, bytes_sent, refused_heads, handshakes, handshakes_resumed, handshake_failures, peers_cut, overloaded, joined;
  std::array<Counter, 6> by_class;  // [1] is 1xx … [5] is 5xx
  std::array<Counter, kDurationBoundsMs.size() + 1> duration;
  Counter duration_sum_ms;
};

struct RouteStats {
  std::array<Counter, 6> by_class;
};

struct ClusterStats {
  Counter connections_total, connections_active, connect_failures, requests_total, requests_active, pending, retries, retry_overflows, hedges, hedges_won, mirrors, mirrors_skipped, overflows, timeouts, resets, ejections, lookups, lookup_failures, handshakes, handshakes_resumed, peers_cut;
  std::array<Counter, 6> by_class;
};

}  // namespace monopod::proxy
