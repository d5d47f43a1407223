// run, create, start, attach and exec: a program of a container, and who sits before it.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/strings.h"
#include "docker/call.h"
#include "docker_client/create_request.h"
#include "docker_client/session.h"
#include "docker_client/show.h"
#include "docker_client/values.h"
#include "docker_client/verbs.h"
#include "http/query.h"
#include "image/docker_config.h"
#include "sys/root.h"
#include "sys/terminal.h"

namespace monopod::docker_client {
namespace {

using async::Task;

Result<> check_terminal(bool tty, bool input) {
  if (tty && input && ::isatty(0) == 0) return fail(Code::kInvalidArgument, "the input device is not a TTY: leave -t out");
  return {};
}

// A container that somebody sits before: attached before it starts, so that nothing it writes is lost.
struct Foreground {
  EngineClient& client;
  std::string id;
  SessionOptions options;
  bool output = true;          // stdout and stderr, both
  bool error = true;
  bool removed = false;        // --rm: waits for that
  bool start = true;
  bool by_signal = false;
  int code = 0;
  Result<> started{};

  Task<Result<>> run() {
    std::string query = cat("?stream=1&stdin=", options.input, "&stdout=", output, "&stderr=", error);
    CO_TRY_ASSIGN(std::unique_ptr<async::Stream> stream, co_await client.hijack(path_of("containers", id, cat("/attach", query))));
    // Its head comes at once, its body with the exit.
    CO_TRY_ASSIGN(http::Response waiting, co_await client.send("POST", path_of("containers", id, removed ? "/wait?condition=removed" : start ? "/wait?condition=next-exit" : "/wait")));
    if (start) {
      auto answer = co_await client.send("POST", path_of("containers", id, "/start"));
      if (!answer) {
        started = fail(answer.error());
        stream->close();
        if (removed) (void)co_await waiting.body->read_all(4096);  // it goes by itself
        co_return Result<>();
      }
    }
    options.resize_path = path_of("containers", id, "/resize");
    CO_TRY_ASSIGN(SessionEnd end, co_await run_session(client, *stream, options));
    if (end.detached) {
      std::printf("\r\n");
      co_return Result<>();
    }
    if (end.signal != 0) {
      code = 128 + end.signal;
      co_return Result<>();
    }
    CO_TRY_ASSIGN(std::string text, co_await waiting.body->read_all(64U << 10));
    CO_TRY_ASSIGN(json::Value ended, json::parse(trim(text)));
    code = static_cast<int>(json::get_int(ended, {"StatusCode"}));
    if (std::string_view why = json::get_string(ended, {"Error", "Message"}); !why.empty()) co_return fail(Code::kUnknown, std::string(why));
    co_return Result<>();
  }
};

Result<> write_id(const std::string& path, const std::string& id) {
  sys::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!file) return fail_errno(cat("--cidfile ", path));
  return sys::write_all(file.get(), id);
}

Result<std::string> create_from_flags(Command& c) {
  TRY_ASSIGN(json::Value body, make_create_request(c.flags, c.words));
  std::string id_file = c.flags.text("cidfile");
  if (!id_file.empty() && ::access(id_file.c_str(), F_OK) == 0) return fail(Code::kAlreadyExists, cat("--cidfile ", id_file, ": it is there already: a container of an earlier run may be, too"));
  TRY_ASSIGN(std::string id, create_container(c.client, body, c.flags.text("name"), c.flags));
  if (!id_file.empty()) TRY(write_id(id_file, id));
  return id;
}

bool passes_signals(const Flags& flags, bool tty) { return !tty && (!flags.has("sig-proxy") || flags.on("sig-proxy")); }

}  // namespace

Result<http::Headers> registry_headers(const std::string& name) {
  TRY_ASSIGN(image::Reference reference, image::parse_reference(name));
  TRY_ASSIGN(image::RegistryAuth auth, image::find_kept_login(reference));
  http::Headers out;
  if (!auth.username.empty() || !auth.token.empty())
    out.add("X-Registry-Auth", format_base64(json::format(json::Object{{"username", auth.username}, {"password", auth.password}, {"registrytoken", auth.token}})));
  return out;
}

int exit_code_of_start(const Error& error) {
  std::string_view text = error.message();
  auto has = [&](std::string_view part) { return text.find(part) != std::string_view::npos; };
  if (has("executable file not found") || has("no such file or directory")) return 127;
  return has("permission denied") || has("is a directory") ? 126 : 125;
}

Result<> pull_image(EngineClient& client, const std::string& name, const std::string& platform, bool quiet) {
  TRY_ASSIGN(image::Reference reference, image::parse_reference(name));
  http::Query query;
  query.add("fromImage", reference.repository());
  query.add("tag", reference.digest.empty() ? reference.tag : reference.digest);
  if (!platform.empty()) query.add("platform", platform);
  return show_transfer(client, "/images/create?" + query.format(), name, quiet);
}

Result<> show_transfer(EngineClient& client, std::string target, const std::string& name, bool quiet) {
  TRY_ASSIGN(http::Headers headers, registry_headers(name));
  sys::ProgressBar bar(name);
  return client.stream("POST", std::move(target), std::move(headers), [&](const json::Value& line) -> Result<bool> {
    std::string_view status = json::get_string(line, {"status"});
    if (quiet) return true;
    if (json::get_object(line, {"progressDetail"}) != nullptr) {
      bar.update(json::get_int(line, {"progressDetail", "current"}), json::get_int(line, {"progressDetail", "total"}), cat(status, " ", json::get_string(line, {"id"})));
    } else if (!status.empty()) {
      bar.finish();
      std::fprintf(stderr, "%s\n", sys::printable(status).c_str());
    }
    return true;
  });
}

Result<std::string> create_container(EngineClient& client, const json::Value& body, const std::string& name, const Flags& flags) {
  http::Query query;
  if (!name.empty()) query.add("name", name);
  if (flags.has("platform")) query.add("platform", flags.text("platform"));
  std::string target = "/containers/create?" + query.format();
  std::string image(json::get_string(body, {"Image"})), when = flags.text("pull", "missing");
  if (when != "missing" && when != "always" && when != "never") return fail(Code::kInvalidArgument, cat("--pull ", when, ": want always, missing or never"));
  if (when == "always") TRY(pull_image(client, image, flags.text("platform"), flags.on("quiet")));
  auto made = client.post(target, body);
  if (!made && made.error().code() == Code::kNotFound && made.error().message().starts_with("No such image") && when == "missing") {
    if (!flags.on("quiet")) std::fprintf(stderr, "Unable to find image '%s' locally\n", sys::printable(image).c_str());
    TRY(pull_image(client, image, flags.text("platform"), flags.on("quiet")));
    made = client.post(target, body);
  }
  TRY_ASSIGN(json::Value answer, std::move(made));
  for (const std::string& warning : docker::strings_of(answer, {"Warnings"})) std::fprintf(stderr, "WARNING: %s\n", sys::printable(warning).c_str());
  return std::string(json::get_string(answer, {"Id"}));
}

Result<int> create_only(Command& c) {
  TRY_ASSIGN(std::string id, create_from_flags(c));
  std::printf("%s\n", id.c_str());
  return 0;
}

Result<int> run_container(Command& c) {
  bool tty = c.flags.on("tty"), detached = c.flags.on("detach");
  TRY_ASSIGN(json::Value body, make_create_request(c.flags, c.words));
  bool input = json::get_bool(body, {"AttachStdin"});
  if (auto terminal = check_terminal(tty, input && !detached); !terminal) {
    print_error(terminal.error());
    return 1;
  }
  TRY_ASSIGN(std::string id, create_from_flags(c));  // a pull can be interrupted
  hold_signals();
  if (detached) {
    auto started = c.client.post(path_of("containers", id, "/start"));
    if (started) std::printf("%s\n", id.c_str());
    else std::fflush(stdout), print_error(started.error());
    return started ? 0 : exit_code_of_start(started.error());
  }
  Foreground foreground{.client = c.client, .id = id, .options = {.tty = tty, .input = input, .detach_keys = c.flags.text("detach-keys")}};
  foreground.output = json::get_bool(body, {"AttachStdout"});
  foreground.error = json::get_bool(body, {"AttachStderr"});
  foreground.removed = c.flags.on("rm");
  if (passes_signals(c.flags, tty)) foreground.options.kill_path = path_of("containers", id, "/kill");
  TRY(c.client.run(foreground.run()));
  if (!foreground.started) {
    print_error(foreground.started.error());
    return exit_code_of_start(foreground.started.error());
  }
  return foreground.code;
}

Result<int> start_containers(Command& c) {
  bool attach = c.flags.on("attach"), interactive = c.flags.on("interactive");
  if (!attach && !interactive)
    return for_each_word(c, [&](const std::string& name) -> Result<> {
      TRY(c.client.post(path_of("containers", name, "/start")));
      return {};
    });
  if (c.words.size() > 1) return fail(Code::kInvalidArgument, "you cannot start and attach multiple containers at once");
  TRY_ASSIGN(json::Value container, c.client.get(path_of("containers", c.words[0], "/json")));
  bool tty = json::get_bool(container, {"Config", "Tty"});
  bool input = interactive && json::get_bool(container, {"Config", "OpenStdin"});
  TRY(check_terminal(tty, input));
  hold_signals();
  Foreground foreground{.client = c.client, .id = std::string(json::get_string(container, {"Id"})), .options = {.tty = tty, .input = input, .detach_keys = c.flags.text("detach-keys")}};
  foreground.removed = json::get_bool(container, {"HostConfig", "AutoRemove"});
  if (passes_signals(c.flags, tty)) foreground.options.kill_path = path_of("containers", foreground.id, "/kill");
  TRY(c.client.run(foreground.run()));
  if (!foreground.started) return fail(foreground.started.error());
  return foreground.code;
}

Result<int> attach_container(Command& c) {
  TRY_ASSIGN(json::Value container, c.client.get(path_of("containers", c.words[0], "/json")));
  if (!json::get_bool(container, {"State", "Running"})) return fail(Code::kFailedPrecondition, "You cannot attach to a stopped container, start it first");
  if (json::get_bool(container, {"State", "Paused"})) return fail(Code::kFailedPrecondition, "You cannot attach to a paused container, unpause it first");
  bool tty = json::get_bool(container, {"Config", "Tty"});
  bool input = !c.flags.on("no-stdin") && json::get_bool(container, {"Config", "OpenStdin"});
  TRY(check_terminal(tty, input));
  hold_signals();
  Foreground foreground{.client = c.client, .id = std::string(json::get_string(container, {"Id"})), .options = {.tty = tty, .input = input, .detach_keys = c.flags.text("detach-keys")}, .start = false};
  if (passes_signals(c.flags, tty)) foreground.options.kill_path = path_of("containers", foreground.id, "/kill");
  TRY(c.client.run(foreground.run()));
  return foreground.code;
}

namespace {

Task<Result<>> execute(EngineClient& client, std::string id, SessionOptions options, SessionEnd& end) {
  CO_TRY_ASSIGN(std::unique_ptr<async::Stream> stream, co_await client.hijack(path_of("exec", id, "/start")));
  options.resize_path = path_of("exec", id, "/resize");
  CO_TRY_ASSIGN(end, co_await run_session(client, *stream, std::move(options)));
  co_return Result<>();
}

}  // namespace

Result<int> exec_container(Command& c) {
  bool tty = c.flags.on("tty"), input = c.flags.on("interactive"), detached = c.flags.on("detach");
  TRY(check_terminal(tty, input && !detached));
  hold_signals();
  std::vector<std::string> env;
  for (const std::string& file : c.flags.list("env-file")) {
    TRY_ASSIGN(std::vector<std::string> lines, read_env_file(file));
    env.insert(env.end(), lines.begin(), lines.end());
  }
  for (const std::string& line : c.flags.list("env")) add_environment(line, env);
  json::Object config{{"Cmd", docker::array_of(std::vector<std::string>(c.words.begin() + 1, c.words.end()))}, {"Env", docker::array_of(env)}, {"User", c.flags.text("user")}, {"WorkingDir", c.flags.text("workdir")}, {"Tty", tty},
                      {"AttachStdin", input && !detached}, {"AttachStdout", !detached}, {"AttachStderr", !detached}, {"Privileged", c.flags.on("privileged")}};
  TRY_ASSIGN(json::Value made, c.client.post(path_of("containers", c.words[0], "/exec"), json::Value(std::move(config))));
  std::string id(json::get_string(made, {"Id"}));
  if (detached) {
    TRY(c.client.post(path_of("exec", id, "/start"), json::Object{{"Detach", true}}));
    return 0;
  }
  SessionEnd end;
  TRY(c.client.run(execute(c.client, id, {.tty = tty, .input = input, .detach_keys = c.flags.text("detach-keys")}, end)));
  if (end.detached) return 0;
  if (end.signal != 0) return 128 + end.signal;
  TRY_ASSIGN(json::Value exec, c.client.get(path_of("exec", id, "/json")));
  return static_cast<int>(json::get_int(exec, {"ExitCode"}));
}

}  // namespace monopod::docker_client
