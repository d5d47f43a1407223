#include "docker/hijack.h"

#include <array>

#include "base/strings.h"
#include "docker/limits.h"
#include "supervisor/log_reader.h"

namespace monopod::docker {

using async::Task;

namespace {
constexpr Duration kLookAgain = std::chrono::seconds(2);
}

Task<Result<std::unique_ptr<Hijacked>>> Hijacked::accept(Call& call, async::Executor executor, async::Time& time, bool frames) {
  CO_TRY(co_await call.exchange.read_body(kBodyBytesMax));  // dockerode says its query there once more
  bool multiplexed = frames && call.minor >= 42;
  http::Headers headers{{"Content-Type", multiplexed ? "application/vnd.docker.multiplexed-stream" : "application/vnd.docker.raw-stream"}};
  bool upgrade = call.exchange.wants_upgrade("tcp");
  if (upgrade) {
    headers.add("Connection", "Upgrade");
    headers.add("Upgrade", "tcp");
  }
  CO_TRY_ASSIGN(std::unique_ptr<async::Stream> stream, co_await call.exchange.upgrade(upgrade ? 101 : 200, std::move(headers)));
  co_return std::make_unique<Hijacked>(executor, time, std::move(stream), frames);
}

Task<Result<>> Hijacked::write(std::uint8_t stream, std::span<const std::byte> bytes) {
  while (writing_) CO_TRY(co_await free_.wait());  // forever: the writer before it is bounded by the connection
  writing_ = true;
  struct Done {
    Hijacked& h;
    ~Done() {
      h.writing_ = false;
      h.free_.wake_all();
    }
  } done{*this};
  if (!frames_) co_return co_await stream_->write_all(bytes);
  std::array<char, 8> head{};
  supervisor::put_frame_head(stream, bytes.size(), head.data());
  std::array parts{std::as_bytes(std::span<const char>(head)), bytes};
  co_return co_await stream_->write_parts(parts);
}

Task<Result<>> Hijacked::pump_output(async::Stream* from, std::uint8_t stream) {
  std::array<std::byte, 16384> buffer;
  for (;;) {
    Result<std::size_t> n = co_await from->read_some(buffer);
    if (!n || *n == 0) co_return Result<>();
    CO_TRY(co_await write(stream, std::span(buffer).first(*n)));
  }
}

Task<Result<>> Hijacked::pump_input(async::Stream* to) {
  std::array<std::byte, 16384> buffer;
  bool open = to != nullptr;
  for (;;) {
    Result<std::size_t> n = co_await stream_->read_some(buffer);
    if (!n) co_return fail(Code::kUnavailable, "the client went away");
    if (*n == 0) break;
    if (open && !co_await to->write_all(std::span(buffer).first(*n))) open = false;  // the process reads no more
  }
  if (to != nullptr) (void)co_await to->shutdown_write();
  for (;;) {  // its half is closed; until the other is, too: a process that says nothing would never let us know
    CO_TRY(co_await time_.sleep_for(kLookAgain));
    CO_TRY(co_await stream_->read_some(buffer));
  }
}

Task<Result<>> Hijacked::pump_outputs(async::Scope& scope, Pumps pumps) {
  async::Scope outputs(executor_);
  if (pumps.out != nullptr) outputs.spawn(pump_output(pumps.out, 1));
  if (pumps.err != nullptr) outputs.spawn(pump_output(pumps.err, 2));
  Result<> ended = co_await outputs.join();  // forever: the process decides
  scope.cancel();
  co_return ended;
}

Task<Result<>> Hijacked::run(async::Scope& scope, Pumps pumps) {
  scope.spawn(pump_input(pumps.in));
  if (pumps.out != nullptr || pumps.err != nullptr) scope.spawn(pump_outputs(scope, pumps));
  co_return co_await scope.join();
}

Task<Result<>> Hijacked::pump(Pumps pumps) {
  co_return co_await async::run_scoped([this, pumps](async::Scope& scope) { return run(scope, pumps); });
}

}  // namespace monopod::docker
