// A client's connection up to the first byte of its own protocol: PROXY header, TLS handshake. What then speaks is a subclass.
#pragma once

#include <memory>
#include <string>

#include "proxy/io/poller.h"
#include "proxy/io/socket.h"
#include "proxy/io/wheel.h"
#include "proxy/listener/worker.h"

namespace monopod::proxy {

class Downstream : public Pollable, public Timer {
 public:
  Downstream(Worker& worker, std::shared_ptr<ListenSlot> slot, sys::Fd fd, const Address& remote);
  // A stream of a connection that is set up already; the connection counts, its streams do not.
  Downstream(const Downstream& carrier, std::shared_ptr<StreamPeer> stream);
  // Goes on with another's connection, in another protocol; from is closed then.
  explicit Downstream(Downstream& from);
  ~Downstream() override;

  void start();
  void set_original(const Address& address) { original_ = std::make_shared<const Address>(address); }
  void on_ready(std::uint32_t events) final;
  void on_timer() final;
  // The listener is gone or the worker ends: close when nothing is under way.
  virtual void on_drain() = 0;
  // A new snapshot: what waits for a request notices if its listener is gone, and holds the one before no longer.
  void on_update() {
    if (!slot_->current) on_drain();
    else if (idle()) runtime_ = slot_->current;
  }

  // Ends it where its listener was in another network namespace and is gone.
  void cut_if_orphaned();
  // Ends it where its peer's certificate has been over for longer than the grace. False: nothing to do.
  bool cut_if_over();
  // A new list of what is revoked may be there.
  void look_up_revocation();

  std::size_t position = 0;  // in the worker's list

 protected:
  // The set-up is done; drive() follows.
  virtual void on_established() = 0;
  virtual void drive() = 0;
  virtual void on_deadline() = 0;
  // Nothing under way needs the snapshot it began with.
  virtual bool idle() const { return false; }
  // No more of it: destroyed at the end of the turn.
  void close();
  bool closed() const { return closed_; }
  bool established() const { return step_ == Step::kEstablished; }
  void arm(std::uint64_t due_ms) { worker_.wheel().arm(*this, due_ms); }
  // The client's address as text, and as lines of x-forwarded-*; made once for a connection and its streams.
  struct ClientText {
    std::string address, forwarded;
  };
  const ClientText& client_text();

  Worker& worker_;
  std::shared_ptr<ListenSlot> slot_;
  std::shared_ptr<const ListenerRuntime> runtime_;  // of the request under way, or the last
  std::shared_ptr<ListenerStats> stats_;
  Socket socket_;
  Address remote_;
  std::shared_ptr<const Address> original_;  // where it was going, if it was redirected here
  std::shared_ptr<PeerIdentity> peer_;  // null: none shown

 private:
  enum class Step : std::uint8_t { kProxyHeader, kHandshake, kEstablished };
  // False: waits, or closed.
  bool set_up();
  bool read_proxy_header();
  bool shake_hands();
  Step step_ = Step::kProxyHeader;
  bool closed_ = false;
  bool counted_ = true;  // as a connection
  bool handshake_begun_ = false;
  std::shared_ptr<const ClientText> client_text_;
};

}  // namespace monopod::proxy
