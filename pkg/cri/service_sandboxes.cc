#include "base/strings.h"
#include "cri/messages.h"
#include "cri/describe.h"
#include "cri/service.h"

namespace monopod::cri {
namespace {

std::string_view sandbox_id_of(const json::Value& request) { return json::get_string(request, {"pod_sandbox_id"}); }

}  // namespace

Service::Later Service::run_sandbox(const json::Value& request) {
  CO_TRY_ASSIGN(std::string id, co_await p_.pods.run_sandbox(member_of(request, {"config"}), std::string(json::get_string(request, {"runtime_handler"}))));
  co_return json::Object{{"pod_sandbox_id", std::move(id)}};
}

// That there is none is what was wanted.
Service::Act Service::stop_sandbox(const json::Value& request) {
  auto s = p_.pods.find_sandbox(sandbox_id_of(request));
  if (s) return p_.pods.stop_sandbox(*s);
  return done(s.error().code() == Code::kNotFound ? Result<>() : fail(s.error()));
}

Service::Act Service::remove_sandbox(const json::Value& request) {
  auto s = p_.pods.find_sandbox(sandbox_id_of(request));
  if (s) return p_.pods.remove_sandbox(*s);
  return done(s.error().code() == Code::kNotFound ? Result<>() : fail(s.error()));
}

Service::Now Service::sandbox_status(const json::Value& request) {
  TRY_ASSIGN(SandboxPtr s, p_.pods.find_sandbox(sandbox_id_of(request)));
  json::Object out{{"status", describe_sandbox_status(*s)}, {"containers_statuses", container_statuses(s->id)}, {"timestamp", nanos(p_.parts.time.wall())}};
  if (json::get_bool(request, {"verbose"})) {
    json::Object info{{"networkNamespace", p_.pods.network_path(*s)}, {"cgroup", p_.parts.cgroups.path(p_.pods.group(*s))}, {"config", s->config}};
    if (auto pause = p_.parts.runtime.state(runtime_id(s->id))) info["pid"] = pause->pid;
    out["info"] = json::Object{{"info", json::format(info)}};
  }
  return out;
}

Service::Now Service::list_sandboxes(const json::Value& request) {
  json::Value filter = member_of(request, {"filter"});
  json::Array items;
  for (const SandboxPtr& s : p_.pods.sandboxes())
    if (matches(filter, *s)) items.push_back(describe_sandbox(*s));
  return json::Object{{"items", std::move(items)}};
}

// The limits of the pod's group, where it is ours: its own one the client has changed already.
Service::Act Service::update_sandbox(const json::Value& request) {
  auto s = p_.pods.find_sandbox(sandbox_id_of(request));
  if (!s) return done(fail(s.error()));
  if (!(*s)->ready) return done(refuse(Code::kFailedPrecondition, {"sandbox \"", (*s)->id, "\" is not ready"}));
  if (!p_.pods.owns_group(**s)) return done({});
  return p_.parts.runtime.create_group(p_.pods.group(**s), make_limits(member_of(request, {"resources"})));
}

Service::Now Service::port_forward(const json::Value& request) {
  TRY_ASSIGN(SandboxPtr s, p_.pods.find_sandbox(sandbox_id_of(request)));
  if (!s->ready) return refuse(Code::kFailedPrecondition, {"sandbox \"", s->id, "\" is not ready"});
  Streaming::What forward{.kind = Streaming::Kind::kForward, .network_path = p_.pods.network_path(*s), .pod = std::string(json::get_string(s->config, {"metadata", "name"})), .sandbox = s->id};
  if (const json::Array* ports = json::get_array(request, {"port"}))
    for (const json::Value& port : *ports) {
      if (!port.is_int64() || port.get_int64() < 1 || port.get_int64() > 65'535) return fail(Code::kInvalidArgument, "port: want 1 to 65535");
      forward.ports.push_back(port.get_int64());
    }
  TRY_ASSIGN(std::string url, p_.streaming.add(std::move(forward)));
  return json::Object{{"url", std::move(url)}};
}

}  // namespace monopod::cri
