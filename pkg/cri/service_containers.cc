#include <algorithm>

#include "base/strings.h"
#include "cri/describe.h"
#include "cri/limits.h"
#include "cri/service.h"

namespace monopod::cri {
namespace {

constexpr std::int64_t kSecondsMax = 10LL * 365 * 86'400;

std::string_view container_id_of(const json::Value& request) { return json::get_string(request, {"container_id"}); }

// What a client asks to get and to give; CRI's rules (api.proto, ExecRequest).
Result<http::RemoteStreams> streams_of(const json::Value& request) {
  http::RemoteStreams out{.in = json::get_bool(request, {"stdin"}), .out = json::get_bool(request, {"stdout"}), .err = json::get_bool(request, {"stderr"}), .tty = json::get_bool(request, {"tty"})};
  if (out.tty && out.err) return fail(Code::kInvalidArgument, "tty and stderr cannot both be true");
  if (!out.in && !out.out && !out.err) return fail(Code::kInvalidArgument, "one of stdin, stdout, or stderr must be set");
  return out;
}

}  // namespace

Service::Answer Service::create_container(const json::Value& request) {
  CO_TRY_ASSIGN(SandboxPtr s, p_.pods.find_sandbox(json::get_string(request, {"pod_sandbox_id"})));
  CO_TRY_ASSIGN(ContainerPtr c, co_await p_.pods.create(s, member_of(request, {"config"})));
  co_return json::Object{{"container_id", c->id}};
}

Service::Answer Service::start_container(const json::Value& request) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.pods.find_container(container_id_of(request)));
  CO_TRY(co_await p_.pods.start(c));
  co_return json::Object{};
}

// That there is none is what was wanted.
Service::Answer Service::stop_container(const json::Value& request) {
  auto c = p_.pods.find_container(container_id_of(request));
  if (!c && c.error().code() == Code::kNotFound) co_return json::Object{};
  CO_TRY(c);
  std::int64_t seconds = std::clamp<std::int64_t>(json::get_int(request, {"timeout"}), 0, kSecondsMax);
  CO_TRY(co_await p_.pods.stop(*c, std::chrono::seconds(seconds)));
  co_return json::Object{};
}

Service::Answer Service::remove_container(const json::Value& request) {
  auto c = p_.pods.find_container(container_id_of(request));
  if (!c && c.error().code() == Code::kNotFound) co_return json::Object{};
  CO_TRY(c);
  CO_TRY(co_await p_.pods.remove(*c));
  co_return json::Object{};
}

Service::Answer Service::list_containers(const json::Value& request) {
  json::Value filter = member_of(request, {"filter"});
  json::Array out;
  for (const ContainerPtr& c : p_.pods.containers())
    if (matches(filter, *c)) out.push_back(describe_container(*c));
  co_return json::Object{{"containers", std::move(out)}};
}

Service::Answer Service::container_status(const json::Value& request) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.pods.find_container(container_id_of(request)));
  json::Object out{{"status", describe_container_status(*c, p_.parts.images.find(c->image_id))}};
  if (json::get_bool(request, {"verbose"})) {
    json::Object info{{"sandboxID", c->sandbox_id}, {"snapshotKey", runtime_id(c->id)}, {"config", c->config}};
    if (auto state = p_.parts.runtime.state(runtime_id(c->id))) {
      info["pid"] = state->pid;
      info["cgroup"] = p_.parts.cgroups.path(state->cgroup_path);
    }
    out["info"] = json::Object{{"info", json::format(info)}};
  }
  co_return out;
}

Service::Answer Service::update_container(const json::Value& request) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.pods.find_container(container_id_of(request)));
  CO_TRY(co_await p_.pods.update(c, member_of(request, {"linux"})));
  co_return json::Object{};
}

Result<ContainerPtr> Service::find_running(const json::Value& request) const {
  TRY_ASSIGN(ContainerPtr c, p_.pods.find_container(container_id_of(request)));
  if (c->phase != Phase::kRunning) return fail(Code::kFailedPrecondition, cat("container \"", c->id, "\" is not running"));
  return c;
}

Service::Answer Service::reopen_log(const json::Value& request) {
  CO_TRY_ASSIGN(ContainerPtr c, find_running(request));
  CO_TRY(co_await p_.parts.runtime.reopen_log(runtime_id(c->id)));
  co_return json::Object{};
}

Service::Answer Service::exec_sync(const json::Value& request) {
  CO_TRY_ASSIGN(ContainerPtr c, find_running(request));
  container::ExecOptions options;
  options.args = strings_of(request, {"cmd"});
  if (options.args.empty()) co_return fail(Code::kInvalidArgument, "cmd is missing");
  std::int64_t seconds = std::clamp<std::int64_t>(json::get_int(request, {"timeout"}), 0, kSecondsMax);
  CO_TRY_ASSIGN(container::ExecSyncOutput output, co_await p_.parts.runtime.exec_sync(runtime_id(c->id), std::move(options), std::chrono::seconds(seconds), kExecSyncBytesMax));
  co_return json::Object{{"stdout", output.stdout_text}, {"stderr", output.stderr_text}, {"exit_code", output.exit_code}};
}

Service::Answer Service::exec(const json::Value& request) {
  CO_TRY_ASSIGN(http::RemoteStreams streams, streams_of(request));
  CO_TRY_ASSIGN(ContainerPtr c, find_running(request));
  Streaming::Exec exec{{.container_id = runtime_id(c->id), .command = strings_of(request, {"cmd"}), .streams = streams}};
  if (exec.request.command.empty()) co_return fail(Code::kInvalidArgument, "cmd is missing");
  CO_TRY_ASSIGN(std::string url, p_.streaming.add(std::move(exec)));
  co_return json::Object{{"url", std::move(url)}};
}

Service::Answer Service::attach(const json::Value& request) {
  CO_TRY_ASSIGN(http::RemoteStreams streams, streams_of(request));
  CO_TRY_ASSIGN(ContainerPtr c, find_running(request));
  if (streams.tty != c->terminal()) co_return fail(Code::kInvalidArgument, cat("tty is ", streams.tty ? "true" : "false", ", that of container \"", c->id, "\" is not"));
  Streaming::Attach attach{{.container_id = runtime_id(c->id), .command = {}, .streams = streams}, c->terminal()};
  CO_TRY_ASSIGN(std::string url, p_.streaming.add(std::move(attach)));
  co_return json::Object{{"url", std::move(url)}};
}

}  // namespace monopod::cri
