// Names, looked up by our own DNS client: a static binary has no getaddrinfo.
#pragma once

#include "cmd/host.h"
#include "http/endpoint.h"
#include "network/dns/resolver.h"

namespace monopod::cmd {

// By the host's /etc/hosts and resolv.conf, as they are when it is made.
class HostResolver final : public http::Resolver {
 public:
  HostResolver(async::Time& time, Rng& rng)
      : resolver_(time, rng, {.servers = read_upstreams("/etc/resolv.conf"), .hosts = read_file("/etc/hosts").value_or("")}) {}
  async::Task<Result<std::vector<std::string>>> resolve(std::string host) override {
    CO_TRY_ASSIGN(std::vector<network::IpAddress> addresses, co_await resolver_.resolve(std::move(host)));
    std::vector<std::string> out;
    for (const network::IpAddress& ip : addresses) out.push_back(network::format_ip(ip));
    co_return out;
  }

 private:
  network::dns::Resolver resolver_;
};

}  // namespace monopod::cmd
