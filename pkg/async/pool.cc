#include "async/pool.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

namespace monopod::async {
namespace {

constexpr std::uint64_t kSimulatedTurns = 4;

// Work of a simulated pool on its way through the loop's turns.
template <typename Handler>
struct Turns {
  Executor executor;
  std::move_only_function<void()>* work;  // null once it has run
  std::uint64_t before;
  std::uint64_t after;
  Handler handler;

  void operator()() {
    if (work && before-- == 0) {
      (*work)();
      work = nullptr;
    }
    if (!work && after-- == 0) return std::move(handler)();
    Executor on = executor;
    asio::post(on, std::move(*this));
  }
};

}  // namespace

Pool::Pool(std::size_t threads) : threads_(threads) {}

Pool::Pool(Rng& rng) : threads_(0), rng_(&rng) {}

Pool::~Pool() { threads_.join(); }

Task<> Pool::run_erased(std::move_only_function<void()> work) {
  auto executor = co_await asio::this_coro::executor;
  co_await asio::async_initiate<decltype(use_task), void()>(
      [&](auto handler) {
        if (rng_) {
          using Handler = decltype(handler);
          std::uint64_t before = rng_->below(kSimulatedTurns), after = rng_->below(kSimulatedTurns);
          asio::post(executor, Turns<Handler>{executor, &work, before, after, std::move(handler)});
          return;
        }
        asio::post(threads_, [&work, executor, guard = asio::make_work_guard(executor), h = std::move(handler)]() mutable {
          work();
          // The guard goes along: once the loop has the completion it may end, and this thread must not touch it again.
          asio::post(executor, [h = std::move(h), g = std::move(guard)]() mutable { std::move(h)(); });
        });
      },
      use_task);
}

}  // namespace monopod::async
