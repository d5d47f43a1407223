// Section Exec.
#include <csignal>

#include "base/log.h"
#include "base/strings.h"
#include "docker/api.h"
#include "docker/hijack.h"
#include "docker/limits.h"

namespace monopod::docker {
namespace {

using async::Task;

Task<Result<>> drain(async::Stream* from) {
  std::array<std::byte, 4096> buffer;
  while (from != nullptr) {
    Result<std::size_t> n = co_await from->read_some(buffer);
    if (!n || *n == 0) break;
  }
  co_return Result<>();
}

}  // namespace

Result<Api::ExecPtr> Api::find_exec(const std::string& id) const {
  auto found = execs_.find(id);
  if (found == execs_.end() || found->second->container->removed) return fail(Code::kNotFound, cat("No such exec instance: ", id));
  return found->second;
}

Result<> Api::forget_old_execs() {
  for (std::size_t looked = 0; execs_.size() >= kExecsMax && looked < exec_order_.size(); ++looked) {
    std::string id = std::move(exec_order_.front());
    exec_order_.pop_front();
    auto found = execs_.find(id);
    if (found != execs_.end() && found->second->running) exec_order_.push_back(std::move(id));
    else if (found != execs_.end()) execs_.erase(found);
  }
  if (execs_.size() >= kExecsMax) return fail(Code::kResourceExhausted, cat("more than ", kExecsMax, " exec sessions run"));
  return {};
}

Task<Result<>> Api::create_exec(Call& call) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.containers.find(call.name));
  CO_TRY_ASSIGN(json::Value config, co_await call.read_json());
  if (strings_of(config, {"Cmd"}).empty()) co_return fail(Code::kInvalidArgument, "No exec command specified");
  if (c->phase != Phase::kRunning) co_return fail(Code::kFailedPrecondition, cat("Container ", c->id, " is not running"));
  if (c->paused) co_return fail(Code::kFailedPrecondition, cat("Container ", c->id, " is paused, unpause the container before exec"));
  CO_TRY(forget_old_execs());
  auto exec = std::make_shared<Exec>(p_.parts.executor);
  exec->id = make_id(p_.parts.rng);
  exec->container = c;
  exec->config = std::move(config);
  execs_[exec->id] = exec;
  exec_order_.push_back(exec->id);
  p_.containers.emit(*c, cat("exec_create: ", join(strings_of(exec->config, {"Cmd"}), " ")), {{"execID", exec->id}});
  co_return co_await call.answer(201, json::Object{{"Id", exec->id}});
}

Task<Result<>> Api::open_exec(ExecPtr exec) {
  container::ExecOptions options;
  options.args = strings_of(exec->config, {"Cmd"});
  options.env = strings_of(exec->config, {"Env"});
  options.cwd = json::get_string(exec->config, {"WorkingDir"});
  options.username = json::get_string(exec->config, {"User"});
  options.terminal = json::get_bool(exec->config, {"Tty"});
  options.stdin_open = json::get_bool(exec->config, {"AttachStdin"});
  options.privileged = json::get_bool(exec->config, {"Privileged"});
  if (options.terminal) options.env.insert(options.env.begin(), "TERM=xterm");
  if (const json::Array* size = json::get_array(exec->config, {"ConsoleSize"}); size != nullptr && size->size() == 2 && (*size)[0].is_int64() && (*size)[1].is_int64() && (*size)[0].get_int64() > 0) {
    options.rows = static_cast<std::uint16_t>((*size)[0].get_int64());
    options.columns = static_cast<std::uint16_t>((*size)[1].get_int64());
  }
  CO_TRY_ASSIGN(exec->session, co_await p_.parts.runtime.exec(exec->container->id, std::move(options)));
  exec->running = true;
  p_.containers.emit(*exec->container, cat("exec_start: ", join(strings_of(exec->config, {"Cmd"}), " ")), {{"execID", exec->id}});
  co_return Result<>();
}

// Follows a session to its end, whoever still looks.
Task<> Api::run_detached(ExecPtr exec) {
  Result<container::ExecResult> ended = co_await exec->session->wait();  // forever: the process decides
  exec->exit_code = ended ? ended->exit_code : 255;
  exec->running = false;
  exec->ended = true;
  p_.containers.emit(*exec->container, "exec_die", {{"execID", exec->id}, {"exitCode", std::to_string(exec->exit_code)}});
  exec->changed.wake_all();
}

Task<Result<>> Api::start_exec(Call& call) {
  CO_TRY_ASSIGN(ExecPtr exec, find_exec(call.name));
  CO_TRY_ASSIGN(json::Value request, co_await call.read_json(false));
  ContainerPtr c = exec->container;
  if (exec->started) co_return fail(Code::kFailedPrecondition, exec->ended ? cat("exec: ", exec->id, " has already run") : cat("exec: ", exec->id, " is already running"));
  if (c->phase != Phase::kRunning) co_return fail(Code::kFailedPrecondition, cat("Container ", c->id, " is not running"));
  if (c->paused) co_return fail(Code::kFailedPrecondition, cat("Container ", c->id, " is paused, unpause the container before exec"));
  exec->started = true;
  if (const json::Value* size = json::find(request, {"ConsoleSize"}); size != nullptr && size->is_array()) exec->config.get_object()["ConsoleSize"] = *size;
  bool detach = json::get_bool(request, {"Detach"});
  bool tty = json::get_bool(exec->config, {"Tty"});
  std::unique_ptr<Hijacked> client;
  if (!detach) {
    CO_TRY_ASSIGN(client, co_await Hijacked::accept(call, p_.parts.executor, p_.parts.time, !tty));
  }
  Result<> opened = co_await async::whole(open_exec(exec));
  if (!opened) {
    exec->ended = true;
    exec->exit_code = start_error_code(opened.error());
    std::string text = cat("OCI runtime exec failed: exec failed: unable to start container process: ", opened.error().message());
    if (detach) co_return fail(opened.error().code() == Code::kNotFound ? Code::kInvalidArgument : opened.error().code(), text);
    text += "\r\n";
    (void)co_await client->write(1, as_bytes(text));
    (void)co_await client->stream().shutdown_write();
    co_return Result<>();
  }
  p_.parts.scope.spawn(run_detached(exec));
  container::ExecSession& session = *exec->session;
  if (detach) {
    if (session.stdin_stream() != nullptr && !tty) (void)co_await session.stdin_stream()->shutdown_write();
    for (async::Stream* from : {session.stdout_stream(), session.stderr_stream()})
      if (from != nullptr) p_.parts.scope.spawn(drain(from));
    co_return co_await call.answer(200);
  }
  bool in = json::get_bool(exec->config, {"AttachStdin"});
  (void)co_await client->pump({.in = in ? session.stdin_stream() : nullptr, .out = session.stdout_stream(), .err = session.stderr_stream()});
  // Clients ask for the exit code as soon as the stream ends.
  while (exec->running) {
    Result<> woken = co_await async::with_timeout<void>(p_.parts.time, std::chrono::seconds(5), "exec", exec->changed.wait());
    if (!woken) break;
  }
  (void)co_await client->stream().shutdown_write();
  co_return Result<>();
}

Task<Result<>> Api::resize_exec(Call& call) {
  CO_TRY_ASSIGN(ExecPtr exec, find_exec(call.name));
  CO_TRY_ASSIGN(std::int64_t rows, call.number("h", 0));
  CO_TRY_ASSIGN(std::int64_t columns, call.number("w", 0));
  if (rows < 0 || columns < 0 || rows > 65'535 || columns > 65'535) co_return fail(Code::kInvalidArgument, "h and w: want 0 to 65535");
  if (!exec->running || !exec->session) co_return fail(Code::kFailedPrecondition, cat("exec ", exec->id, " is not running"));
  CO_TRY(co_await exec->session->resize(static_cast<std::uint16_t>(columns), static_cast<std::uint16_t>(rows)));
  co_return co_await call.answer(200);
}

Task<Result<>> Api::inspect_exec(Call& call) {
  CO_TRY_ASSIGN(ExecPtr exec, find_exec(call.name));
  std::vector<std::string> argv = strings_of(exec->config, {"Cmd"});
  json::Array arguments(argv.begin() + 1, argv.end());
  auto flag = [&](std::string_view key) { return json::get_bool(exec->config, {key}); };
  co_return co_await call.answer(
      200, json::Object{{"ID", exec->id}, {"Running", exec->running}, {"ExitCode", exec->ended ? json::Value(exec->exit_code) : json::Value(nullptr)},
                        {"ProcessConfig", json::Object{{"tty", flag("Tty")}, {"entrypoint", argv[0]}, {"arguments", std::move(arguments)}, {"privileged", flag("Privileged")}}},
                        {"OpenStdin", flag("AttachStdin")}, {"OpenStderr", flag("AttachStderr")}, {"OpenStdout", flag("AttachStdout")}, {"CanRemove", exec->ended}, {"ContainerID", exec->container->id},
                        {"DetachKeys", ""}, {"Pid", exec->running && exec->session ? exec->session->pid() : 0}});
}

}  // namespace monopod::docker
