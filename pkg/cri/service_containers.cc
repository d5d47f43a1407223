#include <algorithm>

#include "base/strings.h"
#include "cri/messages.h"
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

Service::Later Service::create_container(const json::Value& request) {
  CO_TRY_ASSIGN(SandboxPtr s, p_.pods.find_sandbox(json::get_string(request, {"pod_sandbox_id"})));
  CO_TRY_ASSIGN(std::string id, co_await p_.pods.create(s, member_of(request, {"config"})));
  co_return json::Object{{"container_id", std::move(id)}};
}

Service::Act Service::start_container(const json::Value& request) {
  auto c = p_.pods.find_container(container_id_of(request));
  return c ? p_.pods.start(*c) : done(fail(c.error()));
}

// That there is none is what was wanted; one that has not begun has nothing to stop.
Service::Act Service::stop_container(const json::Value& request) {
  auto c = p_.pods.find_container(container_id_of(request));
  if (!c) return done(c.error().code() == Code::kNotFound ? Result<>() : fail(c.error()));
  if ((*c)->phase == Phase::kCreated) return done({});
  return p_.pods.stop(*c, std::chrono::seconds(std::clamp<std::int64_t>(json::get_int(request, {"timeout"}), 0, kSecondsMax)));
}

Service::Act Service::remove_container(const json::Value& request) {
  auto c = p_.pods.find_container(container_id_of(request));
  if (c) return p_.pods.remove(*c);
  return done(c.error().code() == Code::kNotFound ? Result<>() : fail(c.error()));
}

Service::Now Service::list_containers(const json::Value& request) {
  json::Value filter = member_of(request, {"filter"});
  json::Array out;
  for (const ContainerPtr& c : p_.pods.containers())
    if (matches(filter, *c)) out.push_back(describe_container(*c));
  return json::Object{{"containers", std::move(out)}};
}

Service::Now Service::container_status(const json::Value& request) {
  TRY_ASSIGN(ContainerPtr c, p_.pods.find_container(container_id_of(request)));
  json::Object out{{"status", describe_container_status(*c, p_.parts.images.find(c->image_id))}};
  if (json::get_bool(request, {"verbose"})) {
    json::Object info{{"sandboxID", c->sandbox_id}, {"snapshotKey", runtime_id(c->id)}, {"config", c->config}};
    if (auto state = p_.parts.runtime.state(runtime_id(c->id))) {
      info["pid"] = state->pid;
      info["cgroup"] = p_.parts.cgroups.path(state->cgroup_path);
    }
    out["info"] = json::Object{{"info", json::format(info)}};
  }
  return out;
}

Service::Act Service::update_container(const json::Value& request) {
  auto c = p_.pods.find_container(container_id_of(request));
  return c ? p_.pods.update(*c, member_of(request, {"linux"})) : done(fail(c.error()));
}

Result<ContainerPtr> Service::find_running(const json::Value& request) const {
  TRY_ASSIGN(ContainerPtr c, p_.pods.find_container(container_id_of(request)));
  if (c->phase != Phase::kRunning) return refuse(Code::kFailedPrecondition, {"container \"", c->id, "\" is not running"});
  return c;
}

Service::Act Service::reopen_log(const json::Value& request) {
  auto c = find_running(request);
  return c ? p_.parts.runtime.reopen_log(runtime_id((*c)->id)) : done(fail(c.error()));
}

Service::Later Service::exec_sync(const json::Value& request) {
  CO_TRY_ASSIGN(ContainerPtr c, find_running(request));
  container::ExecOptions options;
  options.args = strings_of(request, {"cmd"});
  if (options.args.empty()) co_return fail(Code::kInvalidArgument, "cmd is missing");
  std::int64_t seconds = std::clamp<std::int64_t>(json::get_int(request, {"timeout"}), 0, kSecondsMax);
  CO_TRY_ASSIGN(container::ExecSyncOutput output, co_await p_.parts.runtime.exec_sync(runtime_id(c->id), std::move(options), std::chrono::seconds(seconds), kExecSyncBytesMax));
  co_return json::Object{{"stdout", output.stdout_text}, {"stderr", output.stderr_text}, {"exit_code", output.exit_code}};
}

Service::Now Service::exec(const json::Value& request) {
  TRY_ASSIGN(http::RemoteStreams streams, streams_of(request));
  TRY_ASSIGN(ContainerPtr c, find_running(request));
  Streaming::What exec{.kind = Streaming::Kind::kExec, .request = {.container_id = runtime_id(c->id), .command = strings_of(request, {"cmd"}), .streams = streams}};
  if (exec.request.command.empty()) return fail(Code::kInvalidArgument, "cmd is missing");
  TRY_ASSIGN(std::string url, p_.streaming.add(std::move(exec)));
  return json::Object{{"url", std::move(url)}};
}

Service::Now Service::attach(const json::Value& request) {
  TRY_ASSIGN(http::RemoteStreams streams, streams_of(request));
  TRY_ASSIGN(ContainerPtr c, find_running(request));
  if (streams.tty != c->terminal()) return refuse(Code::kInvalidArgument, {"tty is ", streams.tty ? "true" : "false", ", that of container \"", c->id, "\" is not"});
  Streaming::What attach{.kind = Streaming::Kind::kAttach, .request = {.container_id = runtime_id(c->id), .command = {}, .streams = streams}};
  TRY_ASSIGN(std::string url, p_.streaming.add(std::move(attach)));
  return json::Object{{"url", std::move(url)}};
}

}  // namespace monopod::cri
