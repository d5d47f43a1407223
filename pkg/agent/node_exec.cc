// exec, attach and run: the streams of a client joined to those of a container.
#include "agent/node_handler.h"
#include "base/strings.h"
#include "http/remote_command.h"

namespace monopod::agent {

namespace {

constexpr std::size_t kChunkBytes = 32U << 10;
constexpr Duration kDrainMax = std::chrono::seconds(1);  // output still on its way after the program's end (a background child may hold it for ever)
constexpr std::size_t kRunOutputBytesMax = 4U << 20;

// Query parameters as kubectl sends them to the API server (stdin) and as the API server sends them to a node (input).
struct StreamOptions {
  std::vector<std::string> command;
  http::RemoteStreams streams;
};
Result<StreamOptions> parse_stream_options(const http::Query& query) {
  StreamOptions o;
  for (std::string_view word : query.get_all("command")) o.command.emplace_back(word);
  o.streams.in = query.get_bool("stdin") || query.get_bool("input");
  o.streams.out = query.get_bool("stdout") || query.get_bool("output");
  o.streams.tty = query.get_bool("tty");
  o.streams.err = !o.streams.tty && (query.get_bool("stderr") || query.get_bool("error"));  // a terminal has one output
  if (!o.streams.in && !o.streams.out && !o.streams.err) return fail(Code::kInvalidArgument, "you must specify at least 1 of stdin, stdout, stderr");
  return o;
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

struct Session {
  async::Time& time;
  container::Runtime& containers;
  http::Exchange& exchange;
  std::string id;
  StreamOptions options;

  // The whole of an exec; scope ends with it.
  async::Task<Result<>> exec(async::Scope& scope) {
    CO_TRY_ASSIGN(auto remote, co_await http::accept_remote_command(exchange, time, scope, options.streams));
    if (!remote) co_return Result<>();
    container::ExecOptions exec;
    exec.args = options.command;
    exec.terminal = options.streams.tty;
    exec.stdin_open = options.streams.in;
    auto made = co_await containers.exec(id, std::move(exec));
    if (!made) {
      // What could not be started ends like a shell's "not found".
      co_return co_await remote->finish(http::format_failure_status(made.error()));
    }
    container::ExecSession& session = **made;
    async::Event drained(co_await async::this_executor());
    if (options.streams.in && session.stdin_stream()) scope.spawn(pump_in(*remote, *session.stdin_stream()));
    if (options.streams.tty) scope.spawn(pump_resize(*remote, [&session](http::TerminalSize s) { return session.resize(s.width, s.height); }));
    scope.spawn(drain(session.stdout_stream(), session.stderr_stream(), *remote, options.streams, drained));
    auto ended = co_await session.wait();  // forever: the program decides, as the client's going does not end it
    (void)co_await async::with_timeout<void>(time, kDrainMax, "output", drained.wait());
    std::string status = ended ? http::format_exit_status(ended->exit_code) : http::format_failure_status(ended.error());
    auto finished = co_await remote->finish(std::move(status));
    scope.cancel();
    (void)co_await scope.join();  // before session and remote go
    co_return finished;
  }

  async::Task<Result<>> attach(async::Scope& scope, bool terminal) {
    // The output always: its end tells of the container's.
    CO_TRY_ASSIGN(container::AttachedStreams streams, co_await containers.attach(id, options.streams.in, true, options.streams.err && !terminal));
    CO_TRY_ASSIGN(auto remote, co_await http::accept_remote_command(exchange, time, scope, options.streams));
    if (!remote) co_return Result<>();
    async::Executor executor = co_await async::this_executor();
    async::Event drained(executor), over(executor);
    container::Runtime& runtime = containers;
    std::string container_id = id;
    if (streams.stdin_stream) scope.spawn(pump_in(*remote, *streams.stdin_stream));
    scope.spawn(follow_client(*remote, [&runtime, container_id, terminal](http::TerminalSize s) { return resize(runtime, container_id, terminal, s); }, over));
    scope.spawn(drain(streams.stdout_stream.get(), streams.stderr_stream.get(), *remote, options.streams, drained));
    scope.spawn(then(drained, over));
    auto ended = co_await over.wait();  // forever: the container's end, or the client's
    Result<> finished;
    if (ended && drained.is_set()) finished = co_await remote->finish(http::format_exit_status(0));
    scope.cancel();
    (void)co_await scope.join();
    co_return finished;
  }

  static async::Task<Result<>> resize(container::Runtime& runtime, std::string id, bool terminal, http::TerminalSize size) {
    if (!terminal) co_return Result<>();
    co_return co_await runtime.resize(id, size.width, size.height);
  }
  static async::Task<Result<>> follow_client(http::RemoteCommand& remote, std::function<async::Task<Result<>>(http::TerminalSize)> resize, async::Event& gone) {
    CO_TRY(co_await pump_resize(remote, std::move(resize)));
    gone.set();
    co_return Result<>();
  }
  static async::Task<> then(async::Event& first, async::Event& second) {
    if (auto happened = co_await first.wait(); happened) second.set();
  }
  static async::Task<> drain(async::Stream* out, async::Stream* err, http::RemoteCommand& remote, http::RemoteStreams wanted, async::Event& drained) {
    (void)co_await pump_outputs(out, err, remote, wanted);
    drained.set();
  }
};

}  // namespace

async::Task<Result<>> NodeHandler::exec(http::Exchange& exchange, Target target) {
  if (!target.state.running()) co_return fail(Code::kInvalidArgument, cat("container not found (\"", target.container->name, "\")"));
  CO_TRY_ASSIGN(StreamOptions options, parse_stream_options(http::parse_query(exchange.request().raw_query())));
  Session session{deps_.time, deps_.containers, exchange, target.state.current->id, std::move(options)};
  if (session.options.command.empty()) co_return fail(Code::kInvalidArgument, "you must specify at least 1 command for the container");
  if (!http::wants_remote_command(exchange)) co_return fail(Code::kInvalidArgument, "unable to upgrade: a WebSocket with v5.channel.k8s.io or v4.channel.k8s.io, or SPDY/3.1, is needed");
  co_return co_await async::run_scoped([&session](async::Scope& scope) { return session.exec(scope); });
}

async::Task<Result<>> NodeHandler::attach(http::Exchange& exchange, Target target) {
  if (!target.state.running()) co_return fail(Code::kInvalidArgument, cat("container not found (\"", target.container->name, "\")"));
  CO_TRY_ASSIGN(StreamOptions options, parse_stream_options(http::parse_query(exchange.request().raw_query())));
  Session session{deps_.time, deps_.containers, exchange, target.state.current->id, std::move(options)};
  if (!http::wants_remote_command(exchange)) co_return fail(Code::kInvalidArgument, "unable to upgrade: a WebSocket with v5.channel.k8s.io or v4.channel.k8s.io, or SPDY/3.1, is needed");
  bool terminal = target.container->tty;
  co_return co_await async::run_scoped([&session, terminal](async::Scope& scope) { return session.attach(scope, terminal); });
}

async::Task<Result<>> NodeHandler::run(http::Exchange& exchange, Target target) {
  if (!target.state.running()) co_return fail(Code::kInvalidArgument, cat("container not found (\"", target.container->name, "\")"));
  http::Query query = http::parse_query(exchange.request().raw_query());
  std::vector<std::string> argv;
  for (std::string_view word : split(query.get("cmd").value_or(""), ' '))
    if (!word.empty()) argv.emplace_back(word);
  if (argv.empty()) co_return fail(Code::kInvalidArgument, "you must specify a command: cmd");
  CO_TRY_ASSIGN(ExecResult result, co_await machine_.exec(target.state.current->id, std::move(argv), std::chrono::minutes(10), kRunOutputBytesMax));
  http::Headers headers;
  headers.set("content-type", "text/plain; charset=utf-8");
  co_return co_await exchange.respond(result.exit_code == 0 ? 200 : 500, std::move(headers), std::move(result.output));
}

}  // namespace monopod::agent
