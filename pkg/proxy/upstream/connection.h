// One connection to an endpoint: connects, sends its PROXY header, shakes hands; then it is a socket that its user reads and writes. While it is idle
// in the pool it listens for its end alone.
#pragma once

#include <memory>
#include <string>

#include "proxy/io/address.h"
#include "proxy/io/block_pool.h"
#include "proxy/io/poller.h"
#include "proxy/io/socket.h"
#include "proxy/io/tls.h"
#include "proxy/io/wheel.h"

namespace monopod::proxy {

class Cluster;
class H2Stream;
struct Endpoint;

class UpstreamUser {
 public:
  // Something may be possible now.
  virtual void on_upstream_ready() = 0;

 protected:
  ~UpstreamUser() = default;
};

class UpstreamConnection final : public Pooled, public Pollable, public Timer {
 public:
  UpstreamConnection(std::shared_ptr<Cluster> cluster, Endpoint& endpoint);
  // A stream of a connection that is the endpoint's already, or is being set up.
  UpstreamConnection(std::shared_ptr<Cluster> cluster, Endpoint& endpoint, std::shared_ptr<H2Stream> stream);
  ~UpstreamConnection() override;

  // source: whose address it comes from; null: the kernel's choice.
  Result<> connect(const Address* source);
  enum class Progress : std::uint8_t { kReady, kWaiting, kFailed };
  // Takes the next step of the set-up. kFailed: failure() says why.
  Progress advance();
  bool ready() const { return step_ == Step::kReady; }
  // Of a stream, before advance(): it is ready once the endpoint's SETTINGS say that it takes an extended CONNECT (RFC 8441 section 3).
  void await_extended_connect() {
    awaits_extended_connect_ = true;
    step_ = Step::kStream;
  }
  // kFailed because they do not.
  bool lacks_extended_connect() const { return lacks_extended_connect_; }
  std::string failure() const { return failure_.empty() ? socket_.failure() : failure_; }

  Socket& socket() { return socket_; }
  Cluster& cluster() { return *cluster_; }
  const std::shared_ptr<Cluster>& shared_cluster() const { return cluster_; }
  Endpoint& endpoint() { return endpoint_; }

  void set_user(UpstreamUser* user) { user_ = user; }
  // What stands before everything else on the wire; to be set before advance().
  void set_preface(std::string preface) { preface_ = std::move(preface); }
  bool has_preface() const { return has_preface_ || !preface_.empty(); }
  // Ends it where its peer's certificate has been over for longer than the grace.
  void cut_if_over();
  // The cluster's next configuration has another list of what is revoked.
  void look_up_revocation(const Revocations& revocations, Milliseconds grace);
  std::size_t position = 0;  // in the cluster's list of connections with TLS
  bool reused() const { return reused_; }
  void mark_reused() { reused_ = true; }

  void on_ready(std::uint32_t events) override;
  void on_timer() override;  // idle for too long

 private:
  enum class Step : std::uint8_t { kConnecting, kPreface, kHandshake, kStream, kReady };
  Progress fail_with(std::string why) {
    failure_ = std::move(why);
    return Progress::kFailed;
  }
  Progress start_tls();
  Progress handshake();

  std::shared_ptr<Cluster> cluster_;
  Endpoint& endpoint_;
  Socket socket_;
  H2Stream* stream_ = nullptr;  // that socket_ holds; null: a connection of its own
  UpstreamUser* user_ = nullptr;
  std::string preface_, failure_;
  std::size_t preface_sent_ = 0;
  std::uint64_t cut_at_ms_ = kNever;
  Step step_ = Step::kConnecting;
  bool reused_ = false;
  bool in_list_ = false;  // of the cluster: the handshake is done
  bool has_preface_ = false;
  bool awaits_extended_connect_ = false, lacks_extended_connect_ = false;
};

}  // namespace monopod::proxy
