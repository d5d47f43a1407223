// Structured concurrency: every coroutine has an owning Scope. The first child that fails cancels its siblings; join
// waits for all and returns that first error. A Scope must be joined before it dies (aborts otherwise): own it as a member
// and join in stop(), or use run_scoped().
//
// A cancelled coroutine unwinds at its next co_await, so nothing else may be awaited between spawn and join in the same
// frame: where something is, use run_scoped().
//
//   Scope scope(co_await this_executor());
//   scope.spawn(serve(listener));
//   co_return co_await scope.join();
#pragma once

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <list>
#include <optional>

#include "async/task.h"

namespace monopod::async {

class Scope {
 public:
  explicit Scope(Executor executor);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  // Starts task at the next turn of the loop. Its error cancels the scope (kCancelled itself is not an error).
  void spawn(Task<Result<>> task);
  // For children that cannot fail.
  void spawn(Task<> task);

  // Asks every child to end. Idempotent; children spawned later are cancelled as they start.
  void cancel();
  bool cancelled() const { return cancelled_; }
  std::size_t live() const { return children_.size(); }

  // Waits for all children; if the waiting coroutine is cancelled, cancels them first. Returns the first error.
  // forever: children decide when they end.
  Task<Result<>> join();

 private:
  struct Child {
    asio::cancellation_signal signal;
  };
  void finished(std::list<Child>::iterator child, Result<> result);

  Executor executor_;
  std::list<Child> children_;
  std::optional<Error> first_error_;
  bool cancelled_ = false;
  std::optional<asio::steady_timer> idle_;  // made by join(), never expires; cancelled to wake it
};

// Runs body with a scope that is cancelled and joined however body ends. Returns body's error, else the first child error.
// body is called in this frame, and must not be a capturing lambda that is itself a coroutine: capture in a struct or bind.
Task<Result<>> run_scoped(std::function<Task<Result<>>(Scope&)> body);

// Runs task to its end even if the caller is cancelled meanwhile: nothing that task awaits is. Keep it short and bounded. A caller that may be
// cancelled already says throw_if_cancelled(false) first, or this co_await is the one that unwinds it.
Task<> shielded(Task<> task);

}  // namespace monopod::async
