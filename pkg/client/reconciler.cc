#include "client/reconciler.h"

#include "base/log.h"

namespace monopod::client {
namespace {

async::Task<Result<>> work(WorkQueue& queue, Reconciler& reconciler, std::string name) {
  for (;;) {  // forever: until the queue is shut down
    Result<std::string> key = co_await queue.take();
    if (!key) {
      if (key.error().code() == Code::kUnavailable) co_return Result<>();
      co_return fail(key.error());
    }
    Result<Reconciler::Outcome> outcome = co_await reconciler.reconcile(*key);
    queue.done(*key);
    if (outcome) {
      queue.forget(*key);
      if (outcome->requeue_after > Duration::zero()) queue.add_after(*key, outcome->requeue_after);
      continue;
    }
    if (outcome.error().code() == Code::kCancelled) co_return fail(outcome.error());
    // A conflict is the normal way to learn that the cache is behind: no noise.
    if (outcome.error().code() != Code::kAborted)
      log::warn("reconcile failed, retrying", {{"controller", name}, {"key", *key}, {"why", outcome.error()}});
    queue.add_rate_limited(*key);
  }
}

}  // namespace

async::Task<Result<>> run_controller(WorkQueue& queue, Reconciler& reconciler, ControllerOptions options) {
  async::Scope scope(co_await async::asio::this_coro::executor);
  scope.spawn(queue.run_timers());
  for (int i = 0; i < options.workers; ++i) scope.spawn(work(queue, reconciler, options.name));
  co_return co_await scope.join();
}

}  // namespace monopod::client
