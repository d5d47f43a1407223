// A small DNS client for the process itself: A and AAAA over UDP with TCP on truncation, /etc/hosts given as text. Never
// getaddrinfo. Random ids and source ports, exact question match (CVE-2008-1447).
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "async/time.h"
#include "base/rng.h"
#include "network/address.h"
#include "network/dns/message.h"

namespace monopod::network::dns {

struct ResolverOptions {
  std::vector<IpAddress> servers{};        // in order
  std::uint16_t port = 53;
  std::vector<std::string> search{};       // tried for names with fewer than ndots dots
  int ndots = 1;
  std::chrono::milliseconds try_timeout{2'000};  // per server and try
  int tries = 2;
  std::string hosts{};                     // contents of /etc/hosts, "" for none
};

class Resolver {
 public:
  // time and rng outlive the resolver.
  Resolver(async::Time& time, Rng& rng, ResolverOptions options);
  ~Resolver();

  // Address literals are returned as they are; "localhost" is loopback. IPv4 first. kNotFound: the name does not exist or has
  // no address; kUnavailable/kDeadlineExceeded: no server answered; kInvalidArgument: not a name.
  async::Task<Result<std::vector<IpAddress>>> resolve(std::string name);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The pieces of it that need no loop, for who has another one.

// Of a text as /etc/hosts has it.
std::vector<IpAddress> find_in_hosts(std::string_view hosts, std::string_view name);
// Addresses of name (wire form) in an answer, along its chain of aliases only.
std::vector<IpAddress> addresses_of(const Response& response, std::string name);
// A name with fewer than ndots dots is tried with the search suffixes first, others as they are first; one that ends in a dot is itself alone.
std::vector<std::string> names_to_try(const std::string& name, const std::vector<std::string>& search, int ndots);

}  // namespace monopod::network::dns
