// A small bounded set of threads for blocking work (fsync, unpack, sqlite, big JSON). The work must not touch what the loop owns.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <optional>

#include "async/task.h"
#include "base/rng.h"

namespace monopod::async {

class Pool {
 public:
  explicit Pool(std::size_t threads);
  // For simulations: no threads; work runs on the loop itself some turns later, as rng decides, and its caller resumes some turns after
  // that. One seed, one order of things. rng outlives the pool.
  explicit Pool(Rng& rng);
  ~Pool();  // waits for running work

  // Runs work on a pool thread and resumes the caller on its loop. Not interruptible: a cancelled caller still waits for it.
  // A coroutine for each type of result, not for each work: there are hundreds of works.
  template <typename F>
  Task<std::invoke_result_t<F>> run(F work) {
    return run_for<std::invoke_result_t<F>>(std::move(work));
  }

 private:
  template <typename R>
  Task<R> run_for(std::move_only_function<R()> work) {
    if constexpr (std::is_void_v<R>) {
      co_await run_erased(std::move(work));
    } else {
      std::optional<R> out;
      co_await run_erased([&work, &out] { out.emplace(work()); });
      co_return std::move(*out);
    }
  }
  Task<> run_erased(std::move_only_function<void()> work);
  asio::thread_pool threads_;
  Rng* rng_ = nullptr;  // simulated
};

}  // namespace monopod::async
