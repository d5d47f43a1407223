#include "docker/body_pipe.h"

#include <fcntl.h>

namespace monopod::docker {
namespace {

using async::Task;
using UsePipe = std::function<Task<Result<>>(int fd)>;

constexpr std::size_t kBlockBytes = 256U << 10;

// Larger than the system's 64 KiB, so that loop and thread wake each other less often. Where a user's pipes may not be, it stays as it is.
Result<sys::Pipe> make_body_pipe() {
  TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
  (void)::fcntl(pipe.write.get(), F_SETPIPE_SZ, static_cast<int>(1U << 20));
  return pipe;
}

Task<Result<>> feed(http::Exchange& exchange, sys::Fd pipe) {
  auto to = sys::make_stream(co_await async::this_executor(), std::move(pipe));
  std::vector<std::byte> buffer(kBlockBytes);
  for (;;) {
    CO_TRY_ASSIGN(std::size_t n, co_await exchange.read_body_some(buffer));
    if (n == 0) break;
    if (!co_await to->write_all(std::span(buffer).first(n))) break;  // the reader has enough, or says what is wrong
  }
  co_return co_await to->shutdown_write();
}

Task<Result<>> fill(UsePipe make, sys::Fd pipe) { co_return co_await make(pipe.get()); }

// The reader's own word of what is wrong comes before that of who feeds it.
struct Reading {
  http::Exchange& exchange;
  UsePipe use;
  Task<Result<>> run(async::Scope& scope) {
    CO_TRY_ASSIGN(sys::Pipe pipe, make_body_pipe());
    scope.spawn(feed(exchange, std::move(pipe.write)));
    sys::Fd end = std::move(pipe.read);
    Result<> used = co_await use(end.get());
    end.reset();
    co_return used;
  }
};

struct Writing {
  http::Exchange& exchange;
  UsePipe make;
  Task<Result<>> run(async::Scope& scope) {
    CO_TRY_ASSIGN(sys::Pipe pipe, make_body_pipe());
    scope.spawn(fill(make, std::move(pipe.write)));
    auto from = sys::make_stream(co_await async::this_executor(), std::move(pipe.read));
    std::vector<std::byte> buffer(kBlockBytes);
    for (;;) {
      CO_TRY_ASSIGN(std::size_t n, co_await from->read_some(buffer));
      if (n == 0) break;
      Result<> sent = co_await exchange.write(share(std::string(as_text(std::span(buffer).first(n)))));
      if (!sent) {
        from->close();
        from.reset();  // who writes sees it, and ends
        co_return sent;
      }
    }
    co_return co_await scope.join();
  }
};

}  // namespace

Task<Result<>> with_body(http::Exchange& exchange, UsePipe use) {
  Reading reading{exchange, std::move(use)};
  Reading* r = &reading;
  co_return co_await async::run_scoped([r](async::Scope& scope) { return r->run(scope); });
}

Task<Result<>> send_body(http::Exchange& exchange, UsePipe make) {
  Writing writing{exchange, std::move(make)};
  Writing* w = &writing;
  co_return co_await async::run_scoped([w](async::Scope& scope) { return w->run(scope); });
}

}  // namespace monopod::docker
