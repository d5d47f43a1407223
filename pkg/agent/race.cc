#include "agent/race.h"

namespace monopod::agent {

namespace {

async::Task<> finish(async::Task<Result<>> work, std::optional<Result<>>& out, async::Scope& scope) {
  out = co_await std::move(work);
  scope.cancel();
}

async::Task<> watch(async::Event& stop, async::Scope& scope) {
  auto woken = co_await stop.wait();  // forever: until the work is done and cancels us
  if (woken) scope.cancel();
}

}  // namespace

async::Task<Result<>> run_until(async::Event& stop, async::Task<Result<>> work) {
  if (stop.is_set()) co_return fail(Code::kCancelled, "stopped");
  std::optional<Result<>> out;
  async::Scope scope(co_await async::this_executor());
  scope.spawn(finish(std::move(work), out, scope));
  scope.spawn(watch(stop, scope));
  auto joined = co_await scope.join();
  if (out) co_return std::move(*out);
  co_return joined ? Result<>(fail(Code::kCancelled, "stopped")) : joined;
}

async::Task<Result<bool>> wait_until(async::Time& time, async::Event& event, std::optional<MonoTime> until) {
  if (event.is_set()) co_return true;
  if (!until) {
    CO_TRY(co_await event.wait());  // forever: the owner pokes
    co_return true;
  }
  MonoTime now = time.mono();
  if (*until <= now) co_return false;
  auto woken = co_await async::with_timeout<void>(time, *until - now, "wait", event.wait());
  if (woken) co_return true;
  if (woken.error().code() == Code::kDeadlineExceeded) co_return false;
  co_return fail(std::move(woken).error());
}

}  // namespace monopod::agent
