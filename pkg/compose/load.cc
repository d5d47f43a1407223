#include "compose/load.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/strings.h"
#include "compose/files.h"
#include "docker/call.h"
#include "docker_client/session.h"
#include "docker_client/values.h"
#include "http/query.h"
#include "sys/root.h"
#include "sys/stream.h"
#include "sys/terminal.h"

namespace monopod::compose {
namespace {

using async::Task;
using docker_client::EngineClient;
using docker_client::Flags;

constexpr std::size_t kFileBytesMax = 1U << 20;
constexpr const char* kNames[] = {"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"};

std::optional<std::string> environment(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

// Here or in a directory above.
std::string find_file(const std::string& from) {
  for (std::string directory = from;;) {
    for (const char* name : kNames)
      if (std::string path = cat(directory == "/" ? "" : directory, "/", name); ::access(path.c_str(), F_OK) == 0) return path;
    if (directory == "/" || directory.empty()) return "";
    directory = directory.substr(0, std::max<std::size_t>(directory.rfind('/'), 1));
    if (directory.find('/') == std::string::npos) return "";
  }
}

// Below the environment: the files that --env-file names, else .env of the directory.
Result<std::map<std::string, std::string>> read_dotenv(const Flags& flags, const std::string& directory) {
  std::vector<std::string> files = flags.list("env-file");
  bool named = !files.empty();
  if (!named) files = {directory + "/.env"};
  std::map<std::string, std::string> out;
  for (const std::string& file : files) {
    std::string path = docker_client::absolute_path(file, "");
    auto text = sys::read_host_file(path, kFileBytesMax);
    if (!text && !named) continue;
    if (!text) return fail(text.error());
    auto pairs = parse_dotenv(*text, environment);
    if (!pairs) return fail(std::move(pairs).error().with(path));
    for (auto& [name, value] : *pairs) out[name] = value;
  }
  return out;
}

}  // namespace

namespace {

// What --file or COMPOSE_FILE names, absolute; else the file here or above, with its override file.
Result<std::vector<std::string>> choose_files(const Flags& flags, const std::string& here) {
  std::vector<std::string> files = flags.list("file");
  if (files.empty())
    for (std::string_view name : split(environment("COMPOSE_FILE").value_or(""), environment("COMPOSE_PATH_SEPARATOR").value_or(":")[0]))
      if (!name.empty()) files.emplace_back(name);
  for (std::string& file : files)
    if (file != "-") file = docker_client::absolute_path(file, "");
  if (!files.empty()) return files;
  std::string found = find_file(here);
  if (found.empty()) return fail(Code::kNotFound, "no compose.yaml here or above: name one with --file");
  files.push_back(found);
  for (const char* name : {"compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml"})
    if (std::string path = cat(directory_of(found), "/", name); ::access(path.c_str(), F_OK) == 0) {
      files.push_back(std::move(path));
      break;
    }
  return files;
}

}  // namespace

Result<Loaded> load_project(const Flags& flags) {
  std::string here = docker_client::absolute_path(".", "");
  TRY_ASSIGN(std::vector<std::string> files, choose_files(flags, here));
  std::string directory = flags.has("project-directory") ? docker_client::absolute_path(flags.text("project-directory"), "") : files[0] == "-" ? here : directory_of(files[0]);
  TRY_ASSIGN(auto below, read_dotenv(flags, directory));
  Sources sources;
  sources.variable = [&below](std::string_view name) -> std::optional<std::string> {
    if (auto own = environment(name)) return own;
    auto found = below.find(std::string(name));
    return found == below.end() ? std::nullopt : std::optional(found->second);
  };
  sources.read_file = [](const std::string& path) { return path == "-" ? sys::read_all(0, kFileBytesMax) : sys::read_host_file(path, kFileBytesMax); };
  Loaded out;
  TRY_ASSIGN(out.tree, read_files(files, directory, sources));
  std::string named = join(files, ",");
  ProjectOptions options{.name = flags.text("project-name", sources.variable("COMPOSE_PROJECT_NAME").value_or("")), .directory = directory, .file = named};
  auto project = read_project(out.tree, options, sources);
  if (!project) return fail(std::move(project).error().with(named));
  out.project = *std::move(project);
  std::vector<std::string> profiles = flags.list("profile");
  if (profiles.empty())
    for (std::string_view name : split(sources.variable("COMPOSE_PROFILES").value_or(""), ','))
      if (!name.empty()) profiles.emplace_back(name);
  out.profiles.insert(profiles.begin(), profiles.end());
  return out;
}

Result<std::string> load_name(const Flags& flags) {
  if (flags.has("project-name") && !flags.has("file")) return project_name_of(flags.text("project-name"));
  TRY_ASSIGN(Loaded loaded, load_project(flags));
  return loaded.project.name;
}

Result<std::vector<Member>> find_members(EngineClient& client, const std::string& project, bool all, bool once) {
  TRY_ASSIGN(std::string filters, docker_client::encode_filters({"label=com.docker.compose.project=" + project}));
  TRY_ASSIGN(json::Value answer, client.get(cat("/containers/json?all=", all, "&filters=", filters)));
  std::vector<Member> out;
  if (!answer.is_array()) return out;
  for (json::Value& c : answer.get_array()) {
    auto label = [&](std::string_view name) { return std::string(json::get_string(c, {"Labels", cat("com.docker.compose.", name)})); };
    if (!once && label("oneoff") == "True") continue;
    std::vector<std::string> names = docker::strings_of(c, {"Names"});
    Member m{.id = std::string(json::get_string(c, {"Id"})), .name = names.empty() ? "" : names[0].substr(1), .service = label("service"), .hash = label("config-hash"), .image_id = std::string(json::get_string(c, {"ImageID"})),
             .state = std::string(json::get_string(c, {"State"})), .depends_on = label("depends_on"), .number = parse_int<int>(label("container-number")).value_or(1)};
    m.summary = std::move(c);
    auto at = out.begin();
    while (at != out.end() && (at->service < m.service || (at->service == m.service && at->number < m.number))) ++at;
    out.insert(at, std::move(m));
  }
  return out;
}

void say(std::string_view what) { std::fprintf(stderr, " %s\n", sys::printable(what).c_str()); }

namespace {

struct Changes {
  EngineClient& client;
  std::vector<Change> changes;
  std::optional<Error> first{};

  Task<Result<>> one(std::size_t i) {
    auto answer = co_await client.send(changes[i].method, changes[i].target);
    if (answer) {
      CO_TRY(co_await answer->body->read_all(1U << 20));
      if (!changes[i].done.empty()) say(changes[i].done);
    } else if (answer.error().code() != Code::kNotFound && !first) {
      first = answer.error();
    }
    co_return Result<>();
  }
  Task<Result<>> all(async::Scope& scope) {
    for (std::size_t i = 0; i < changes.size(); ++i) scope.spawn(one(i));
    co_return co_await scope.join();
  }
  Task<Result<>> run() {
    co_return co_await async::run_scoped([this](async::Scope& scope) { return all(scope); });
  }
};

// Lines of one container, with its name before them.
class Prefixed {
 public:
  Prefixed(std::string prefix, bool framed) : prefix_(std::move(prefix)), framed_(framed) {}
  Result<> feed(std::string_view bytes) {
    if (!framed_) return put(1, bytes);
    return frames_.feed(bytes, [this](int stream, std::string_view piece) { return put(stream, piece); });
  }
  Result<> finish() {
    for (int stream : {1, 2})
      if (!rest_[stream].empty()) TRY(put(stream, "\n"));
    return {};
  }

 private:
  Result<> put(int stream, std::string_view bytes) {
    std::string& rest = rest_[stream == 2 ? 2 : 1];
    rest += bytes;
    std::string out;
    for (std::size_t end; (end = rest.find('\n')) != std::string::npos; rest.erase(0, end + 1)) out += cat(prefix_, std::string_view(rest).substr(0, end + 1));
    return out.empty() ? Result<>() : sys::write_all(stream == 2 ? 2 : 1, out);
  }

  std::string prefix_;
  bool framed_;
  docker_client::FrameReader frames_;
  std::string rest_[3];
};

struct Logs {
  EngineClient& client;
  const std::vector<Member>& members;
  LogsOptions options;
  std::vector<bool> ttys{};
  std::size_t width = 0;
  sys::Fd signals{};
  LogsEnd end{};
  async::Scope* outer = nullptr;

  std::string prefix_of(const Member& m) const {
    if (!options.prefix) return "";
    std::string label = cat(m.service, "-", m.number);
    label.resize(std::max(width, label.size()), ' ');
    return label + " | ";
  }
  Task<Result<>> one(std::size_t i) {
    const Member& m = members[i];
    auto response = co_await client.send("GET", docker_client::path_of("containers", m.id, cat("/logs?stdout=1&stderr=1&", options.query)));
    if (!response && response.error().code() == Code::kNotFound) co_return Result<>();
    if (!response) co_return fail(response.error());
    Prefixed lines(prefix_of(m), !ttys[i]);
    for (;;) {  // forever: with follow the container decides
      CO_TRY_ASSIGN(SharedBytes chunk, co_await response->body->read_chunk());
      if (!chunk) break;
      CO_TRY(lines.feed(*chunk));
    }
    CO_TRY(lines.finish());
    if (end.ended.empty() && options.enders.contains(m.service)) {
      end.ended = m.id;
      outer->cancel();
    }
    co_return Result<>();
  }
  Task<Result<>> all_of(async::Scope& scope) {
    for (std::size_t i = 0; i < members.size(); ++i) scope.spawn(one(i));
    co_return co_await scope.join();
  }
  Task<Result<>> until_end() {
    Result<> ended = co_await async::run_scoped([this](async::Scope& scope) { return all_of(scope); });
    outer->cancel();
    co_return ended;
  }
  Task<Result<>> until_signal() {
    CO_TRY(co_await sys::wait_readable(signals.get()));
    struct signalfd_siginfo info {};
    if (::read(signals.get(), &info, sizeof info) == sizeof info) end.signal = static_cast<int>(info.ssi_signo);
    outer->cancel();
    co_return Result<>();
  }
  Task<Result<>> both(async::Scope& scope) {
    outer = &scope;
    scope.spawn(until_end());
    scope.spawn(until_signal());
    co_return co_await scope.join();
  }
  Task<Result<>> run() {
    co_return co_await async::run_scoped([this](async::Scope& scope) { return both(scope); });
  }
};

}  // namespace

Result<> change_all(EngineClient& client, std::vector<Change> changes) {
  Changes all{client, std::move(changes)};
  TRY(client.run(all.run()));
  if (all.first) return fail(*all.first);
  return {};
}

Result<LogsEnd> show_members_logs(EngineClient& client, const std::vector<Member>& members, LogsOptions options) {
  Logs logs{client, members, std::move(options)};
  for (const Member& m : members) {
    auto answer = client.get(docker_client::path_of("containers", m.id, "/json"));
    logs.ttys.push_back(answer && json::get_bool(*answer, {"Config", "Tty"}));
    logs.width = std::max(logs.width, cat(m.service, "-", m.number).size());
  }
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, number);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  logs.signals = sys::Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  TRY(client.run(logs.run()));
  return logs.end;
}

// By their labels: without the file.
std::vector<std::vector<Member>> in_steps(std::vector<Member> left) {
  std::vector<std::vector<Member>> out;
  while (!left.empty()) {
    std::vector<Member> step, rest;
    for (const Member& m : left) {
      bool needed = std::ranges::any_of(left, [&](const Member& other) { return other.service != m.service && cat(",", other.depends_on).find(cat(",", m.service, ":")) != std::string::npos; });
      (needed ? rest : step).push_back(m);
    }
    if (step.empty()) step.swap(rest);  // a circle: all at once
    out.push_back(std::move(step));
    left = std::move(rest);
  }
  return out;
}

Result<> stop_members(EngineClient& client, const std::vector<Member>& members, const std::string& timeout) {
  for (const std::vector<Member>& step : in_steps(members)) {
    std::vector<Change> changes;
    for (const Member& m : step)
      if (m.state != "exited" && m.state != "created" && m.state != "dead")
        changes.push_back({"POST", docker_client::path_of("containers", m.id, timeout.empty() ? "/stop" : cat("/stop?t=", http::encode_query_component(timeout))), cat("Container ", m.name, "  Stopped")});
    TRY(change_all(client, std::move(changes)));
  }
  return {};
}

Result<> remove_members(EngineClient& client, const std::vector<Member>& members, bool volumes) {
  std::vector<Change> changes;
  for (const Member& m : members) changes.push_back({"DELETE", docker_client::path_of("containers", m.id, volumes ? "?force=1&v=1" : "?force=1"), cat("Container ", m.name, "  Removed")});
  return change_all(client, std::move(changes));
}

}  // namespace monopod::compose
