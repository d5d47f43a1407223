#include "async/pool.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

namespace monopod::async {

Pool::Pool(std::size_t threads) : threads_(threads) {}

Pool::~Pool() { threads_.join(); }

Task<> Pool::run_erased(std::move_only_function<void()> work) {
  auto executor = co_await asio::this_coro::executor;
  co_await asio::async_initiate<decltype(use_task), void()>(
      [&](auto handler) {
        asio::post(threads_, [&work, executor, guard = asio::make_work_guard(executor), h = std::move(handler)]() mutable {
          work();
          // The guard goes along: once the loop has the completion it may end, and this thread must not touch it again.
          asio::post(executor, [h = std::move(h), g = std::move(guard)]() mutable { std::move(h)(); });
        });
      },
      use_task);
}

}  // namespace monopod::async
