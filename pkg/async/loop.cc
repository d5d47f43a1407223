#include "async/loop.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/system/system_error.hpp>
#include <optional>

#include "base/block_cache.h"

namespace monopod::async {
namespace {

// What one turn with 64 requests frees; more gains nothing (tests/bench/etcd).
constexpr std::size_t kFreedBytesMax = 512 << 10;

}  // namespace

Loop::Loop() : context_(1) {}
Loop::~Loop() = default;

Result<> Loop::run(Task<Result<>> main) {
  BlockCache freed(kFreedBytesMax);
  std::optional<Result<>> out;
  std::exception_ptr thrown;
  asio::co_spawn(context_, std::move(main), [&](std::exception_ptr e, Result<> r) {
    thrown = e;
    out = std::move(r);
    context_.stop();
  });
  context_.restart();
  context_.run();
  if (thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const boost::system::system_error& e) {
      return fail(error_from(e.code(), "loop"));
    }
  }
  return out ? std::move(*out) : Result<>(fail(Code::kInternal, "loop ran out of work before its main task ended"));
}

}  // namespace monopod::async
