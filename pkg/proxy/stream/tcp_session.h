// A TCP connection through the proxy: to the listener's cluster, or to the one that the ClientHello's server name chooses (TLS passed through).
#pragma once

#include <memory>

#include "proxy/listener/downstream.h"
#include "proxy/stream/duplex.h"
#include "proxy/upstream/cluster.h"

namespace monopod::proxy {

class TcpSession final : public Downstream, private UpstreamUser, private Waiter {
 public:
  TcpSession(Worker& worker, std::shared_ptr<ListenSlot> slot, sys::Fd fd, const Address& remote);
  ~TcpSession() override;

  void on_drain() override {}  // what is under way ends by itself

 private:
  void on_established() override;
  void drive() override;
  void on_deadline() override;
  // What it does from here on any later runtime of its listener will do for: a connection of days does not hold every pod's clusters of its first day.
  bool idle() const override { return phase_ == Phase::kOpen; }
  void on_upstream_ready() override { drive(); }
  void on_capacity() override;

  // The cluster by server name. False: not known yet, or closed.
  bool choose();
  bool connect();
  // An attempt came to nothing: the next endpoint, or the end.
  void connect_failed(std::string_view why);
  void pump();
  void finish(std::string_view details);

  std::shared_ptr<Cluster> cluster_;
  EndpointPin endpoint_;
  UpstreamConnection* upstream_ = nullptr;
  std::unique_ptr<Duplex> duplex_;
  enum class Phase : std::uint8_t { kChoosing, kCapacity, kConnecting, kOpen } phase_ = Phase::kChoosing;
  std::uint32_t attempts_ = 0;
  std::uint64_t begun_ms_;
  std::uint64_t last_moved_ms_;
};

// What stands before everything on a connection to an endpoint whose cluster wants a PROXY header; empty where it does not.
std::string proxy_preface(const ClusterSpec& cluster, const Address& source, int client_fd);

}  // namespace monopod::proxy
