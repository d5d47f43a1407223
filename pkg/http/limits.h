// Bounds of this package. Each has a test at it and one past it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace monopod::http {

struct Limits {
  std::size_t header_bytes_max = 64U << 10;   // request or response head, names + values; 431 past it
  std::size_t header_fields_max = 256;        // 431 past it
  std::size_t target_bytes_max = 32U << 10;   // request line's target; 414 past it
  std::uint32_t concurrent_streams_max = 1000;  // h2, advertised and enforced
  std::size_t connections_max = 10'000;       // accepted past it: closed at once
  std::size_t write_queue_bytes_max = 64U << 10;   // unsent bytes of one answer before write() waits
  std::size_t output_bytes_max = 256U << 10;       // unsent bytes of one h2 connection before streams are not drained further
  std::uint32_t stream_window_bytes = 128U << 10;  // h2 receive window, what an unread request body may hold
  std::size_t websocket_message_bytes_max = 4U << 20;
  std::size_t spdy_control_frame_bytes_max = 16U << 10;  // payload; data frames may be of any size, they come through in pieces
  std::size_t spdy_streams_max = 512;                    // open at once in one session; refused past it (port-forward: two per connection)
  std::size_t spdy_stream_input_bytes_max = 256U << 10;  // unread bytes of one stream before the session is not read further
  // A peer earns back one event per refill; past the budget the connection ends with ENHANCE_YOUR_CALM.
  std::uint32_t reset_budget = 500;           // RST_STREAM received (CVE-2023-44487)
  std::uint32_t reset_refill_per_second = 100;
  std::uint32_t control_budget = 2000;        // PING, SETTINGS, PRIORITY, empty DATA (CVE-2019-9512, 9513, 9515, 9518)
  std::uint32_t control_refill_per_second = 200;
  Duration handshake_timeout = std::chrono::seconds(10);   // TLS, and the first bytes
  Duration header_timeout = std::chrono::seconds(30);      // first byte of a head to its end (slowloris)
  Duration idle_timeout = std::chrono::minutes(3);         // keep-alive without a request
  Duration stall_timeout = std::chrono::minutes(2);        // nothing of an answer could be written, or of a body came before the answer
};

}  // namespace monopod::http
