// Where Exec, Attach and PortForward lead: a server on loopback whose URLs nobody can guess, each good for one connection within a minute.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "async/pool.h"
#include "async/time.h"
#include "container/runtime.h"
#include "http/server.h"
#include "streams/forward.h"
#include "streams/session.h"

namespace monopod::cri {

class Streaming final : public http::Handler {
 public:
  Streaming(async::Executor executor, async::Time& time, async::Pool& pool, container::Runtime& runtime) : time_(time), pool_(pool), runtime_(runtime), server_(executor, time, *this, {}) {}

  // On a port of 127.0.0.1 that is free.
  Result<> listen();
  async::Task<Result<>> serve() { return server_.serve(std::move(socket_)); }

  enum class Kind { kExec, kAttach, kForward };
  struct What {
    Kind kind = Kind::kExec;
    streams::Request request{};      // exec, attach
    std::string network_path{};      // forward: of the sandbox; empty: the node's own
    std::string pod{}, sandbox{};    // forward: for the texts of errors
    std::vector<std::int64_t> ports{};
  };
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
  async::Pool& pool_;
  container::Runtime& runtime_;
  http::Server server_;
  sys::Fd socket_;
  std::uint16_t port_ = 0;
  std::map<std::string, Ticket> tickets_;
};

}  // namespace monopod::cri
