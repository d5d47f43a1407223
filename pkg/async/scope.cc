#include "async/scope.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <cstdlib>
#include <exception>

#include "async/as_result.h"
#include "async/beside.h"
#include "base/log.h"

namespace monopod::async {
namespace {

// What ended a coroutine by exception: cancellation unwinds that way; anything else is a bug of ours or a third party's.
Result<> result_of(std::exception_ptr thrown) {
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (const boost::system::system_error& e) {
    return fail(error_from(e.code(), "task"));
  } catch (const std::exception& e) {
    log::error("task ended by an exception", {{"what", e.what()}});
    return fail(Code::kInternal, e.what());
  }
}

// A child starts at the next turn of the loop, so that spawn() never re-enters its caller. One that is cancelled by then does not
// begin; awaiting it would say so by an exception, which costs more than a whole HTTP request.
Task<Result<>> at_next_turn(Executor executor, Task<Result<>> task) {
  co_await asio::post(executor, use_task);
  asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
  if (state.cancelled() != asio::cancellation_type::none) co_return fail(Code::kCancelled, "cancelled");
  co_return co_await std::move(task);
}

Task<Result<>> as_fallible(Task<> task) {
  co_await std::move(task);
  co_return Result<>();
}

}  // namespace

Scope::Scope(Executor executor) : executor_(executor) {}

Scope::~Scope() {
  if (children_.empty()) return;
  log::error("scope destroyed with live tasks", {{"tasks", children_.size()}});
  std::abort();
}

void Scope::spawn(Task<> task) { spawn(as_fallible(std::move(task))); }

void Scope::spawn(Task<Result<>> task) {
  auto child = children_.emplace(children_.end());
  asio::co_spawn(executor_, at_next_turn(executor_, std::move(task)),
                 asio::bind_cancellation_slot(child->signal.slot(), [this, child](std::exception_ptr thrown, Result<> result) {
                   finished(child, thrown ? result_of(std::move(thrown)) : std::move(result));
                 }));
  if (cancelled_) {
    // The child has a signal handler once co_spawn returned; emit at the next turn so that it is inside its first wait.
    asio::post(executor_, [this] { cancel(); });
  }
}

void Scope::finished(std::list<Child>::iterator child, Result<> result) {
  children_.erase(child);
  if (!result && result.error().code() != Code::kCancelled && !first_error_) {
    first_error_ = std::move(result).error();
    cancel();
  }
  if (children_.empty() && idle_) idle_->cancel();
}

void Scope::cancel() {
  cancelled_ = true;
  for (auto it = children_.begin(); it != children_.end();) {
    auto next = std::next(it);  // emit may end the child at once
    it->signal.emit(asio::cancellation_type::terminal);
    it = next;
  }
}

Task<Result<>> Scope::join() {
  bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  bool interrupted = false;
  while (!children_.empty()) {
    asio::cancellation_state state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none && !interrupted) {
      interrupted = true;
      cancel();
      continue;
    }
    if (!idle_) idle_.emplace(executor_, asio::steady_timer::time_point::max());
    [[maybe_unused]] boost::system::error_code woken = co_await idle_->async_wait(as_code);
  }
  co_await asio::this_coro::throw_if_cancelled(throws);
  if (first_error_) co_return fail(*std::exchange(first_error_, std::nullopt));
  if (interrupted) co_return fail(Code::kCancelled, "cancelled");
  co_return Result<>();
}

Task<Result<>> run_scoped(std::function<Task<Result<>>(Scope&)> body) {
  Scope scope(co_await asio::this_coro::executor);
  Result<> result;
  std::exception_ptr thrown;
  try {
    result = co_await body(scope);
  } catch (...) {
    thrown = std::current_exception();
  }
  scope.cancel();
  bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);  // a cancelled caller still waits for the children
  Result<> joined = co_await scope.join();
  co_await asio::this_coro::throw_if_cancelled(throws);
  if (thrown) std::rethrow_exception(thrown);
  if (!result && result.error().code() != Code::kCancelled) co_return result;
  if (!joined) co_return joined;
  co_return result;
}

void Beside::start(Executor executor, Task<> task) {
  asio::co_spawn(executor, std::move(task), asio::bind_cancellation_slot(signal.slot(), [this](std::exception_ptr what) {
    thrown = std::move(what);
    ended = true;
    woken.cancel();
  }));
}

// No signal reaches the task; this coroutine waits on, however often it is woken.
Task<> shielded(Task<> task) {
  bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  Executor executor = co_await this_executor();
  Beside beside(executor, asio::steady_timer::time_point::max());
  beside.start(executor, std::move(task));
  while (!beside.ended) [[maybe_unused]] boost::system::error_code woken = co_await beside.woken.async_wait(as_code);
  co_await asio::this_coro::throw_if_cancelled(throws);
  if (beside.thrown) std::rethrow_exception(beside.thrown);
}

}  // namespace monopod::async
