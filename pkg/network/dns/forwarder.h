// Questions outside of the cluster's zone: upstream servers in order, answers cached for their time to live, at most 30 s
// (5 s where the server failed to say).
#pragma once

#include <unordered_map>

#include "network/dns/exchange.h"
#include "network/dns/server.h"

namespace monopod::network::dns {

inline constexpr std::chrono::seconds kCacheTtlMax{30};

class Forwarder {
 public:
  struct Options {
    std::vector<IpAddress> upstreams{};
    std::uint16_t port = 53;
    std::size_t cache_entries_max = 10'000;
    std::size_t in_flight_max = 1'000;
  };
  // time and rng outlive it.
  Forwarder(async::Time& time, Rng& rng, Options options) : time_(time), rng_(rng), options_(std::move(options)) {}

  void set_upstreams(std::vector<IpAddress> upstreams);
  bool has_upstreams() const { return !options_.upstreams.empty(); }

  struct Ask {
    std::string name{};      // wire form, lower case
    std::string question{};  // as asked
    std::uint16_t type = 0;
    bool tcp = false;
  };
  // With what is left of the times to live; id 0, question in the asker's spelling.
  std::optional<Answer> find_cached(const Ask& ask);
  // kResourceExhausted over in_flight_max, kUnavailable when no server answers.
  async::Task<Result<Answer>> resolve(Ask ask);

 private:
  struct Entry {
    Answer answer{};
    MonoTime stored{};
    MonoTime expires{};
  };
  static std::string key_of(const Ask& ask) { return make_question(ask.name, ask.type) + (ask.tcp ? "t" : ""); }
  void store(const Ask& ask, const Answer& answer);

  async::Time& time_;
  Rng& rng_;
  Options options_;
  std::unordered_map<std::string, Entry> cache_;
  std::size_t in_flight_ = 0;
};

}  // namespace monopod::network::dns
