#include "async/event.h"

#include "async/as_result.h"

namespace monopod::async {

Event::Event(Executor executor) : waiters_(executor, asio::steady_timer::time_point::max()) {}

void Event::set() {
  set_ = true;
  waiters_.cancel();
}

Task<Result<>> Event::wait() {
  while (!set_) {
    [[maybe_unused]] boost::system::error_code woken = co_await waiters_.async_wait(as_code);
    // This coroutine itself was cancelled, as opposed to woken by timer.cancel(). Asking does not throw.
    asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) co_return fail(Code::kCancelled, "cancelled");
  }
  co_return Result<>();
}

Notify::Notify(Executor executor) : waiters_(executor, asio::steady_timer::time_point::max()) {}

void Notify::wake_all() {
  ++wakes_;
  waiters_.cancel();
}

Task<Result<>> Notify::wait() { return wait_after(wakes_); }

Task<Result<>> Notify::wait_after(std::uint64_t wakes) {
  if (wakes_ != wakes) co_return Result<>();
  // The owner may be gone once this returns: nothing of it is looked at again.
  [[maybe_unused]] boost::system::error_code woken = co_await waiters_.async_wait(as_code);
  asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
  if (state.cancelled() != asio::cancellation_type::none) co_return fail(Code::kCancelled, "cancelled");
  co_return Result<>();
}

}  // namespace monopod::async
