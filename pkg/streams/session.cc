// exec and attach: the streams of a client joined to those of a container.
#include "streams/session.h"

#include <functional>
#include <optional>

#include "async/event.h"
#include "async/scope.h"

namespace monopod::streams {

namespace {

constexpr std::size_t kChunkBytes = 32U << 10;
constexpr Duration kDrainMax = std::chrono::seconds(1);  // output still on its way after the program's end (a background child may hold it for ever)

Result<> check_upgrade(const http::Exchange& exchange) {
  if (http::wants_remote_command(exchange)) return {};
  return fail(Code::kInvalidArgument, "unable to upgrade: a WebSocket with v5.channel.k8s.io or v4.channel.k8s.io, or SPDY/3.1, is needed");
}

async::Task<Result<>> pump_in(http::RemoteCommand& remote, async::Stream& into) {
  std::vector<std::byte> buffer(kChunkBytes);
  for (;;) {  // forever: until either side ends
    auto n = co_await remote.read_stdin(buffer);
    if (!n && n.error().code() == Code::kCancelled) co_return fail(std::move(n).error());
    if (!n || *n == 0) break;
    auto written = co_await into.write_all(std::span(buffer).first(*n));
    if (!written) co_return Result<>();  // the program does not read any more
  }
  (void)co_await into.shutdown_write();
  co_return Result<>();
}

enum class Output { kStdout, kStderr, kNowhere };  // nowhere: the client did not ask for it, and the program must not wait

async::Task<Result<>> pump_out(async::Stream& from, http::RemoteCommand& remote, Output to) {
  std::vector<std::byte> buffer(kChunkBytes);
  for (;;) {  // forever: until either side ends
    auto n = co_await from.read_some(buffer);
    if (!n && n.error().code() == Code::kCancelled) co_return fail(std::move(n).error());
    if (!n || *n == 0) co_return Result<>();
    std::span<const std::byte> bytes = std::span(buffer).first(*n);
    if (to == Output::kStderr) CO_TRY(co_await remote.write_stderr(bytes));
    if (to == Output::kStdout) CO_TRY(co_await remote.write_stdout(bytes));
  }
}

async::Task<Result<>> pump_resize(http::RemoteCommand& remote, std::function<async::Task<Result<>>(http::TerminalSize)> resize) {
  for (;;) {  // forever: until the client goes
    auto size = co_await remote.next_resize();
    if (!size && size.error().code() == Code::kCancelled) co_return fail(std::move(size).error());
    if (!size) co_return Result<>();
    (void)co_await resize(*size);
  }
}

// Both outputs read to their ends.
async::Task<Result<>> pump_outputs(async::Stream* out, async::Stream* err, http::RemoteCommand& remote, http::RemoteStreams wanted) {
  async::Scope scope(co_await async::this_executor());
  if (out) scope.spawn(pump_out(*out, remote, wanted.out ? Output::kStdout : Output::kNowhere));
  if (err) scope.spawn(pump_out(*err, remote, wanted.err ? Output::kStderr : Output::kNowhere));
  co_return co_await scope.join();
}

// What a client's streams are joined to. It outlives the scope of its work, and with it goes all that the work uses.
struct Session {
  Session(async::Executor executor, async::Time& t, container::Runtime& c, http::Exchange& e, Request r)
      : time(t), containers(c), exchange(e), request(std::move(r)), drained(executor), over(executor) {}

  async::Time& time;
  container::Runtime& containers;
  http::Exchange& exchange;
  Request request;
  std::unique_ptr<http::RemoteCommand> remote;
  std::unique_ptr<container::ExecSession> program;           // exec
  std::optional<Result<container::ExecResult>> program_ended;
  container::AttachedStreams attached;                        // attach
  async::Event drained;                                       // no more output
  async::Event over;                                          // what ran has ended, or the client is gone

  // A client that goes takes the program's streams with it, and with a terminal its session; the program itself goes on as far as it can.
  async::Task<Result<>> exec(async::Scope& scope) {
    CO_TRY_ASSIGN(remote, co_await http::accept_remote_command(exchange, time, scope, request.streams));
    if (!remote) co_return Result<>();
    container::ExecOptions exec;
    exec.args = request.command;
    exec.terminal = request.streams.tty;
    exec.stdin_open = request.streams.in;
    auto made = co_await containers.exec(request.container_id, std::move(exec));
    if (!made) {
      // What could not be started ends like a shell's "not found".
      co_return co_await remote->finish(http::format_failure_status(made.error()));
    }
    program = std::move(*made);
    if (request.streams.in && program->stdin_stream()) scope.spawn(pump_in(*remote, *program->stdin_stream()));
    scope.spawn(follow_client([this](http::TerminalSize s) { return program->resize(s.width, s.height); }));
    scope.spawn(drain(program->stdout_stream(), program->stderr_stream()));
    scope.spawn(await_program());
    CO_TRY(co_await over.wait());  // forever: the program decides, or the client
    if (!program_ended) co_return Result<>();
    (void)co_await async::with_timeout<void>(time, kDrainMax, "output", drained.wait());
    Result<container::ExecResult>& ended = *program_ended;
    co_return co_await remote->finish(ended ? http::format_exit_status(ended->exit_code) : http::format_failure_status(ended.error()));
  }

  async::Task<Result<>> attach(async::Scope& scope, bool terminal) {
    // The output always: its end tells of the container's.
    CO_TRY_ASSIGN(attached, co_await containers.attach(request.container_id, request.streams.in, true, request.streams.err && !terminal));
    CO_TRY_ASSIGN(remote, co_await http::accept_remote_command(exchange, time, scope, request.streams));
    if (!remote) co_return Result<>();
    if (attached.stdin_stream) scope.spawn(pump_in(*remote, *attached.stdin_stream));
    scope.spawn(follow_client([this, terminal](http::TerminalSize s) { return resize_container(terminal, s); }));
    scope.spawn(drain(attached.stdout_stream.get(), attached.stderr_stream.get()));
    scope.spawn(await_output());
    CO_TRY(co_await over.wait());  // forever: the container decides, or the client
    if (!drained.is_set()) co_return Result<>();
    co_return co_await remote->finish(http::format_exit_status(0));
  }

 private:
  async::Task<Result<>> resize_container(bool terminal, http::TerminalSize size) {
    if (!terminal) co_return Result<>();
    co_return co_await containers.resize(request.container_id, size.width, size.height);
  }
  async::Task<Result<>> follow_client(std::function<async::Task<Result<>>(http::TerminalSize)> resize) {
    CO_TRY(co_await pump_resize(*remote, std::move(resize)));
    over.set();
    co_return Result<>();
  }
  async::Task<> drain(async::Stream* out, async::Stream* err) {
    (void)co_await pump_outputs(out, err, *remote, request.streams);
    drained.set();
  }
  async::Task<Result<>> await_program() {
    Result<container::ExecResult> ended = co_await program->wait();
    if (!ended && ended.error().code() == Code::kCancelled) co_return fail(std::move(ended).error());
    program_ended = std::move(ended);
    over.set();
    co_return Result<>();
  }
  async::Task<Result<>> await_output() {
    CO_TRY(co_await drained.wait());
    over.set();
    co_return Result<>();
  }
};

}  // namespace

async::Task<Result<>> serve_exec(async::Time& time, container::Runtime& containers, http::Exchange& exchange, Request request) {
  if (request.command.empty()) co_return fail(Code::kInvalidArgument, "you must specify at least 1 command for the container");
  CO_TRY(check_upgrade(exchange));
  Session session(co_await async::this_executor(), time, containers, exchange, std::move(request));
  co_return co_await async::run_scoped([&session](async::Scope& scope) { return session.exec(scope); });
}

async::Task<Result<>> serve_attach(async::Time& time, container::Runtime& containers, http::Exchange& exchange, Request request, bool terminal) {
  CO_TRY(check_upgrade(exchange));
  Session session(co_await async::this_executor(), time, containers, exchange, std::move(request));
  co_return co_await async::run_scoped([&session, terminal](async::Scope& scope) { return session.attach(scope, terminal); });
}

}  // namespace monopod::streams
