#include "async/join.h"

#include <vector>

#include "async/event.h"
#include "async/scope.h"

namespace monopod::async {

namespace {

constexpr std::size_t kChunkBytes = 32U << 10;
constexpr Duration kRestMax = std::chrono::seconds(1);  // for the client's direction, once the server's is over

struct Joined {
  Joined(Executor executor, Time& t, Stream& c, Stream& s) : time(t), client(c), server(s), sent(executor) {}
  Time& time;
  Stream& client;
  Stream& server;
  Event sent;  // everything of the client went to the server
};

// True at the end of from; false when to takes nothing any more; an error when from was lost.
Task<Result<bool>> copy(Stream& from, Stream& to) {
  std::vector<std::byte> buffer(kChunkBytes);
  for (;;) {  // forever: until either side ends
    CO_TRY_ASSIGN(std::size_t n, co_await from.read_some(buffer));
    if (n == 0) co_return true;
    Result<> written = co_await to.write_all(std::span(buffer).first(n));
    if (!written) co_return false;
  }
}

Task<> to_server(Joined& joined, Scope& scope) {
  Result<bool> copied = co_await copy(joined.client, joined.server);
  if (!copied) scope.cancel();  // reset: nobody waits for what the server has to say
  else if (*copied) (void)co_await joined.server.shutdown_write();
  joined.sent.set();
}

Task<> from_server(Joined& joined, Scope& scope) {
  (void)co_await copy(joined.server, joined.client);
  (void)co_await joined.client.shutdown_write();
  (void)co_await with_timeout<void>(joined.time, kRestMax, "rest", joined.sent.wait());
  scope.cancel();
}

}  // namespace

Task<Result<>> join_streams(Time& time, Stream& client, Stream& server) {
  Executor executor = co_await this_executor();
  Joined joined(executor, time, client, server);
  Scope scope(executor);
  scope.spawn(to_server(joined, scope));
  scope.spawn(from_server(joined, scope));
  co_return co_await scope.join();
}

}  // namespace monopod::async
