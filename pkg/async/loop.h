// The event loop: one thread, one io_context. Everything but blocking work runs on it; between two awaits it is a
// transaction. Blocking work goes to Pool.
#pragma once

#include <boost/asio/io_context.hpp>

#include "async/task.h"

namespace monopod::async {

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  Executor executor() { return context_.get_executor(); }
  asio::io_context& context() { return context_; }

  // Runs main to its end on the calling thread and returns what it returned. Work still queued afterwards is dropped.
  Result<> run(Task<Result<>> main);

 private:
  asio::io_context context_;
};

}  // namespace monopod::async
