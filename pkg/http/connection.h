// Private: what a server's connections share, and the doors of the two protocols.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "async/event.h"
#include "async/time.h"
#include "http/exchange.h"
#include "http/server.h"
#include "http/transport.h"

namespace monopod::http {

// A live connection as the server's sweeper and shutdown see it.
class ServerConnection {
 public:
  virtual ~ServerConnection() = default;
  virtual void on_sweep(MonoTime now) = 0;  // close what is late
  virtual void on_shutdown() = 0;           // end when idle
};

struct ServerContext {
  async::Executor executor;
  async::Time& time;
  Handler& handler;
  ServerOptions options;
  ServerStats stats;
  std::set<ServerConnection*> connections;
  async::Notify changed;  // a connection came, or shutdown
  bool shutting_down = false;
  std::string date;  // cached for a second
  std::int64_t date_second = -1;

  ServerContext(async::Executor e, async::Time& t, Handler& h, ServerOptions o)
      : executor(e), time(t), handler(h), options(std::move(o)), changed(e) {}
  const Limits& limits() const { return options.limits; }
  // The value of the Date field: RFC 9110 section 5.6.7.
  const std::string& current_date();
};

// Stands in the set while it lives.
class Registration {
 public:
  Registration(ServerContext& context, ServerConnection& connection) : context_(context), connection_(connection) {
    context_.connections.insert(&connection_);
    context_.changed.wake_all();
  }
  ~Registration() { context_.connections.erase(&connection_); }
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

 private:
  ServerContext& context_;
  ServerConnection& connection_;
};

// Both run until the connection's end. initial: bytes read already.
async::Task<Result<>> serve_h1(ServerContext& context, std::unique_ptr<Transport> transport, Peer peer, std::string initial);
async::Task<Result<>> serve_h2(ServerContext& context, std::unique_ptr<Transport> transport, Peer peer, std::string initial);

}  // namespace monopod::http
