// The cluster's DNS server: the cluster zone from a DnsTable with the semantics of CoreDNS's kubernetes plugin
// (specification: https://github.com/kubernetes/dns/blob/master/docs/specification.md, schema 1.1.0), reverse names of
// what the table knows, and every other name forwarded to upstream servers with a cache. UDP and TCP, EDNS0.
//
//   dns::Server server(executor, time, rng, {.addresses = {cluster_dns_ip}, .upstreams = {...}});
//   server.set_table(table);              // at any time, from the loop
//   scope.spawn(server.serve());          // until cancelled
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "async/time.h"
#include "base/rng.h"
#include "network/dns/table.h"

namespace monopod::network::dns {

struct ServerOptions {
  std::vector<IpAddress> addresses{};  // to bind; must be addresses of this namespace
  std::uint16_t port = 53;           // 0: any free one (tests), see Server::port()
  std::string zone = "cluster.local";
  std::vector<IpAddress> upstreams{};  // in order; own addresses are left out. None: other names are refused
  std::uint16_t upstream_port = 53;
  bool pod_records = true;           // 10-42-0-7.ns.pod.cluster.local for every address (CoreDNS "pods insecure")
  std::chrono::seconds ttl{5};
  std::size_t cache_entries_max = 10'000;
  std::size_t forwards_in_flight_max = 1'000;
  std::size_t tcp_connections_max = 128;
};

struct ServerStats {
  std::uint64_t queries = 0;
  std::uint64_t answered_from_zone = 0;
  std::uint64_t answered_from_cache = 0;
  std::uint64_t forwarded = 0;
  std::uint64_t refused = 0;    // over a limit, malformed, or no upstream
  std::uint64_t dropped = 0;    // not worth an answer (responses, shorter than a header)
};

class Server {
 public:
  // time and rng outlive the server.
  Server(async::Executor executor, async::Time& time, Rng& rng, ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Builds the index at once (1,000 services: about a millisecond in a release build); the old table answers until then.
  void set_table(const DnsTable& table);
  void set_upstreams(std::vector<IpAddress> upstreams);  // also empties the cache

  // Binds every address, UDP and TCP, at once: afterwards clients can ask. kUnavailable etc. name the address.
  Result<> listen();
  std::uint16_t port() const;  // after listen()
  // listen() if not yet done, then answers until cancelled.
  async::Task<Result<>> serve();

  ServerStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace monopod::network::dns
