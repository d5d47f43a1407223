#include "async/whole.h"

#include "async/scope.h"

namespace monopod::async {
namespace {

Task<> store_into(Task<Result<>> task, Result<>& out) { out = co_await std::move(task); }

}  // namespace

Task<Result<>> whole(Task<Result<>> task) {
  co_await asio::this_coro::throw_if_cancelled(false);
  Result<> out;
  co_await shielded(store_into(std::move(task), out));
  co_await asio::this_coro::throw_if_cancelled(true);
  co_return out;
}

}  // namespace monopod::async
