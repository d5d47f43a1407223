// One question to one DNS server: a socket of its own each time (so a random source port), a random id, and only an
// answer from that server to exactly that id and question is believed (CVE-2008-1447).
#pragma once

#include <chrono>
#include <string>

#include "async/time.h"
#include "base/rng.h"
#include "network/dns/message.h"

namespace monopod::network::dns {

struct Upstream {
  IpAddress ip{};
  std::uint16_t port = 53;
  std::chrono::milliseconds timeout{2'000};
};

struct Answer {
  std::string packet{};  // as received
  Response response{};
};

// Wrong answers are ignored until the time is up: kDeadlineExceeded. kUnavailable: the server refuses.
async::Task<Result<Answer>> ask_udp(async::Time& time, Rng& rng, Upstream server, std::string question);
async::Task<Result<Answer>> ask_tcp(async::Time& time, Rng& rng, Upstream server, std::string question);

}  // namespace monopod::network::dns
