#include "base/strings.h"
#include "cri/describe.h"
#include "cri/service.h"

namespace monopod::cri {
namespace {

std::string_view sandbox_id_of(const json::Value& request) { return json::get_string(request, {"pod_sandbox_id"}); }

}  // namespace

Service::Answer Service::run_sandbox(const json::Value& request) {
  CO_TRY_ASSIGN(SandboxPtr s, co_await p_.pods.run_sandbox(member_of(request, {"config"}), std::string(json::get_string(request, {"runtime_handler"}))));
  co_return json::Object{{"pod_sandbox_id", s->id}};
}

// That there is none is what was wanted.
Service::Answer Service::stop_sandbox(const json::Value& request) {
  auto s = p_.pods.find_sandbox(sandbox_id_of(request));
  if (!s && s.error().code() == Code::kNotFound) co_return json::Object{};
  CO_TRY(s);
  CO_TRY(co_await p_.pods.stop_sandbox(*s));
  co_return json::Object{};
}

Service::Answer Service::remove_sandbox(const json::Value& request) {
  auto s = p_.pods.find_sandbox(sandbox_id_of(request));
  if (!s && s.error().code() == Code::kNotFound) co_return json::Object{};
  CO_TRY(s);
  CO_TRY(co_await p_.pods.remove_sandbox(*s));
  co_return json::Object{};
}

Service::Answer Service::sandbox_status(const json::Value& request) {
  CO_TRY_ASSIGN(SandboxPtr s, p_.pods.find_sandbox(sandbox_id_of(request)));
  json::Object out{{"status", describe_sandbox_status(*s)}, {"containers_statuses", container_statuses(s->id)}, {"timestamp", nanos(p_.parts.time.wall())}};
  if (json::get_bool(request, {"verbose"})) {
    json::Object info{{"networkNamespace", p_.pods.network_path(*s)}, {"cgroup", p_.parts.cgroups.path(p_.pods.group(*s))}, {"config", s->config}};
    if (auto pause = p_.parts.runtime.state(runtime_id(s->id))) info["pid"] = pause->pid;
    out["info"] = json::Object{{"info", json::format(info)}};
  }
  co_return out;
}

Service::Answer Service::list_sandboxes(const json::Value& request) {
  json::Value filter = member_of(request, {"filter"});
  json::Array items;
  for (const SandboxPtr& s : p_.pods.sandboxes())
    if (matches(filter, *s)) items.push_back(describe_sandbox(*s));
  co_return json::Object{{"items", std::move(items)}};
}

// The limits of the pod's group, where it is ours: its own one the client has changed already.
Service::Answer Service::update_sandbox(const json::Value& request) {
  CO_TRY_ASSIGN(SandboxPtr s, p_.pods.find_sandbox(sandbox_id_of(request)));
  if (!s->ready) co_return fail(Code::kFailedPrecondition, cat("sandbox \"", s->id, "\" is not ready"));
  if (!p_.pods.owns_group(*s)) co_return json::Object{};
  CO_TRY(co_await p_.parts.runtime.create_group(p_.pods.group(*s), make_limits(member_of(request, {"resources"}))));
  co_return json::Object{};
}

Service::Answer Service::port_forward(const json::Value& request) {
  CO_TRY_ASSIGN(SandboxPtr s, p_.pods.find_sandbox(sandbox_id_of(request)));
  if (!s->ready) co_return fail(Code::kFailedPrecondition, cat("sandbox \"", s->id, "\" is not ready"));
  Streaming::Forward forward{{p_.parts.time, p_.parts.pool, p_.pods.network_path(*s), std::string(json::get_string(s->config, {"metadata", "name"})), s->id}, {}};
  if (const json::Array* ports = json::get_array(request, {"port"}))
    for (const json::Value& port : *ports) {
      if (!port.is_int64() || port.get_int64() < 1 || port.get_int64() > 65'535) co_return fail(Code::kInvalidArgument, "port: want 1 to 65535");
      forward.ports.push_back(port.get_int64());
    }
  CO_TRY_ASSIGN(std::string url, p_.streaming.add(std::move(forward)));
  co_return json::Object{{"url", std::move(url)}};
}

}  // namespace monopod::cri
