#include "cmd/until_signal.h"

#include <csignal>

#include <boost/asio/signal_set.hpp>

#include "async/as_result.h"

namespace monopod::cmd {

async::Task<Result<>> until_signal(async::Scope& scope, bool& stopped) {
  async::asio::signal_set signals(co_await async::this_executor(), SIGINT, SIGTERM);
  [[maybe_unused]] auto [ec, number] = co_await signals.async_wait(async::as_tuple);  // forever: the user decides
  stopped = !ec;
  scope.cancel();
  co_return Result<>();
}

}  // namespace monopod::cmd
