#include "api/slice.h"

#include <boost/asio/post.hpp>

#include "api/limits.h"

namespace monopod::api {

async::Task<Result<>> yield_loop() {
  co_await async::asio::post(co_await async::this_executor(), async::use_task);
  co_return Result<>();
}

// Real time on purpose: what is bounded is the processor, not what the clock of a test says.
Slice::Slice() : begin_(std::chrono::steady_clock::now()) {}
bool Slice::spent() const { return std::chrono::steady_clock::now() - begin_ > kSliceMax; }

async::Task<Result<>> Slice::yield() {
  CO_TRY(co_await yield_loop());
  begin_ = std::chrono::steady_clock::now();
  co_return Result<>();
}

}  // namespace monopod::api
