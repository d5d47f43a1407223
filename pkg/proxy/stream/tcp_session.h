// A TCP connection through the proxy: to the listener's cluster, or to the one that the ClientHello's server name chooses (TLS passed through).
#pragma once

#include <memory>

#include "proxy/listener/downstream.h"
#include "proxy/stream/duplex.h"
#include "proxy/stream/joined.h"
#include "proxy/upstream/cluster.h"

namespace monopod::proxy {

class TcpSession final : public Downstream, private UpstreamUser, private Waiter, private JoinUser {
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
  void on_join() override { worker_.poller().again(*this); }

  // The cluster by server name. False: not known yet, or closed.
  bool choose();
  bool connect();
  // An attempt came to nothing: the next endpoint, or the end.
  void connect_failed(std::string_view why);
  void pump();
  // Hands the connection to the kernel, where that is asked for and possible: between two bytes, with nothing on its way here.
  void try_to_join();
  void pump_joined();
  std::uint64_t bytes_up() const { return (duplex_ ? duplex_->up.moved() : 0) + (joined_ ? joined_->up_bytes() : 0); }
  std::uint64_t bytes_down() const { return (duplex_ ? duplex_->down.moved() : 0) + (joined_ ? joined_->down_bytes() : 0); }
  std::uint64_t idle_due() const;
  void finish(std::string_view details);

  std::shared_ptr<Cluster> cluster_;
  EndpointPin endpoint_;
  UpstreamConnection* upstream_ = nullptr;
  std::unique_ptr<Duplex> duplex_;
  std::unique_ptr<Joined> joined_;   // instead of what duplex_ would do from here on
  bool join_refused_ = false;
  std::uint64_t joined_bytes_ = 0;   // at the last look
  enum class Phase : std::uint8_t { kChoosing, kCapacity, kConnecting, kOpen } phase_ = Phase::kChoosing;
  std::uint32_t attempts_ = 0;
  std::uint64_t begun_ms_;
  std::uint64_t last_moved_ms_;
};

// What stands before everything on a connection to an endpoint whose cluster wants a PROXY header; empty where it does not.
std::string proxy_preface(const ClusterSpec& cluster, const Address& source, int client_fd);

}  // namespace monopod::proxy
