// Where Exec, Attach and PortForward lead: a server on loopback whose URLs nobody can guess, each good for one connection within a minute.
#pragma once

#include <map>
#include <string>
#include <variant>

#include "async/pool.h"
#include "async/time.h"
#include "container/runtime.h"
#include "http/server.h"
#include "streams/forward.h"
#include "streams/session.h"

namespace monopod::cri {

class Streaming final : public http::Handler {
 public:
  Streaming(async::Executor executor, async::Time& time, container::Runtime& runtime) : time_(time), runtime_(runtime), server_(executor, time, *this, {}) {}

  // On a port of 127.0.0.1 that is free.
  Result<> listen();
  async::Task<Result<>> serve() { return server_.serve(std::move(socket_)); }

  struct Exec {
    streams::Request request;
  };
  struct Attach {
    streams::Request request;
    bool terminal = false;  // the container has one
  };
  struct Forward {
    streams::ForwardTarget target;
    std::vector<std::int64_t> ports;
  };
  using What = std::variant<Exec, Attach, Forward>;
  // The URL that it is served at. kResourceExhausted while too many are not used.
  Result<std::string> add(What what);

  async::Task<Result<>> handle(http::Exchange& exchange) override;

 private:
  struct Ticket {
    What what;
    MonoTime until{};
  };
  void forget_old();

  async::Time& time_;
  container::Runtime& runtime_;
  http::Server server_;
  sys::Fd socket_;
  std::uint16_t port_ = 0;
  std::map<std::string, Ticket> tickets_;
};

}  // namespace monopod::cri
