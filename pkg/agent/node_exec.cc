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
  bool in = false;
  bool out = false;
  bool err = false;
  bool tty = false;
};
StreamOptions parse_stream_options(const http::Query& query) {
  StreamOptions o;
  for (std::string_view word : query.get_all("command")) o.command.emplace_back(word);
  o.in = query.get_bool("stdin") || query.get_bool("input");
  o.out = query.get_bool("stdout") || query.get_bool("output");
  o.err = query.get_bool("stderr") || query.get_bool("error");
  o.tty = query.get_bool("tty");
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

async::Task<Result<>> pump_out(async::Stream& from, http::RemoteCommand& remote, bool error_stream) {
  std::vector<std::byte> buffer(kChunkBytes);
  for (;;) {  // forever: until either side ends
    auto n = co_await from.read_some(buffer);
    if (!n && n.error().code() == Code::kCancelled) co_return fail(std::move(n).error());
    if (!n || *n == 0) co_return Result<>();
    std::span<const std::byte> bytes = std::span(buffer).first(*n);
    if (error_stream) CO_TRY(co_await remote.write_stderr(bytes));
    else CO_TRY(co_await remote.write_stdout(bytes));
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
async::Task<Result<>> pump_outputs(async::Stream* out, async::Stream* err, http::RemoteCommand& remote) {
  async::Scope scope(co_await async::this_executor());
  if (out) scope.spawn(pump_out(*out, remote, false));
  if (err) scope.spawn(pump_out(*err, remote, true));
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
    container::ExecOptions exec;
    exec.args = options.command;
    exec.terminal = options.tty;
    exec.stdin_open = options.in;
    auto made = co_await containers.exec(id, std::move(exec));
    CO_TRY_ASSIGN(auto remote, co_await http::accept_remote_command(exchange, scope));
    if (!made) {
      // What could not be started ends like a shell's "not found".
      co_return co_await remote->finish(http::format_failure_status(made.error()));
    }
    container::ExecSession& session = **made;
    async::Event drained(co_await async::this_executor());
    if (options.in && session.stdin_stream()) scope.spawn(pump_in(*remote, *session.stdin_stream()));
    if (options.tty) scope.spawn(pump_resize(*remote, [&session](http::TerminalSize s) { return session.resize(s.width, s.height); }));
    scope.spawn(drain(session.stdout_stream(), session.stderr_stream(), *remote, drained));
    auto ended = co_await session.wait();  // forever: the program, or the client by going away, decides
    (void)co_await async::with_timeout<void>(time, kDrainMax, "output", drained.wait());
    std::string status = ended ? http::format_exit_status(ended->exit_code) : http::format_failure_status(ended.error());
    auto finished = co_await remote->finish(std::move(status));
    scope.cancel();
    (void)co_await scope.join();  // before session and remote go
    co_return finished;
  }

  async::Task<Result<>> attach(async::Scope& scope, bool terminal) {
    CO_TRY_ASSIGN(container::AttachedStreams streams, co_await containers.attach(id, options.in, options.out, options.err && !terminal));
    CO_TRY_ASSIGN(auto remote, co_await http::accept_remote_command(exchange, scope));
    async::Event drained(co_await async::this_executor());
    container::Runtime& runtime = containers;
    std::string container_id = id;
    if (streams.stdin_stream) scope.spawn(pump_in(*remote, *streams.stdin_stream));
    if (terminal) scope.spawn(pump_resize(*remote, [&runtime, container_id](http::TerminalSize s) { return runtime.resize(container_id, s.width, s.height); }));
    scope.spawn(drain(streams.stdout_stream.get(), streams.stderr_stream.get(), *remote, drained));
    auto ended = co_await drained.wait();  // forever: the container decides
    Result<> finished;
    if (ended) finished = co_await remote->finish(http::format_exit_status(0));
    scope.cancel();
    (void)co_await scope.join();
    co_return finished;
  }

  static async::Task<> drain(async::Stream* out, async::Stream* err, http::RemoteCommand& remote, async::Event& drained) {
    (void)co_await pump_outputs(out, err, remote);
    drained.set();
  }
};

}  // namespace

async::Task<Result<>> NodeHandler::exec(http::Exchange& exchange, Target target) {
  if (!target.state.running()) co_return fail(Code::kInvalidArgument, cat("container not found (\"", target.container->name, "\")"));
  Session session{deps_.time, deps_.containers, exchange, target.state.current->id, parse_stream_options(http::parse_query(exchange.request().raw_query()))};
  if (session.options.command.empty()) co_return fail(Code::kInvalidArgument, "you must specify at least 1 command for the container");
  if (!http::wants_remote_command(exchange)) co_return fail(Code::kInvalidArgument, "unable to upgrade: a WebSocket with v5.channel.k8s.io or v4.channel.k8s.io is needed");
  co_return co_await async::run_scoped([&session](async::Scope& scope) { return session.exec(scope); });
}

async::Task<Result<>> NodeHandler::attach(http::Exchange& exchange, Target target) {
  if (!target.state.running()) co_return fail(Code::kInvalidArgument, cat("container not found (\"", target.container->name, "\")"));
  Session session{deps_.time, deps_.containers, exchange, target.state.current->id, parse_stream_options(http::parse_query(exchange.request().raw_query()))};
  if (!http::wants_remote_command(exchange)) co_return fail(Code::kInvalidArgument, "unable to upgrade: a WebSocket with v5.channel.k8s.io or v4.channel.k8s.io is needed");
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
