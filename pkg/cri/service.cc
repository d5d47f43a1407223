#include "cri/service.h"

#include <algorithm>

#include "base/strings.h"
#include "cri/messages.h"
#include "cri/describe.h"
#include "cri/limits.h"
#include "http/grpc.h"

namespace monopod::cri {
namespace {

using async::Task;

constexpr std::string_view kPackage = "/runtime.v1.";
constexpr std::string_view kRuntime = "RuntimeService";
constexpr std::string_view kImages = "ImageService";
constexpr std::string_view kEvents = "/runtime.v1.RuntimeService/GetContainerEvents";

}  // namespace

constexpr Service::Method Service::kMethods[] = {
    {.service = kRuntime, .name = "Version", .now = &Service::version},
    {.service = kRuntime, .name = "Status", .later = &Service::status},
    {.service = kRuntime, .name = "RuntimeConfig", .now = &Service::runtime_config},
    {.service = kRuntime, .name = "UpdateRuntimeConfig", .act = &Service::update_runtime_config},
    {.service = kRuntime, .name = "CheckpointContainer", .now = &Service::checkpoint_container},
    {.service = kRuntime, .name = "RunPodSandbox", .later = &Service::run_sandbox},
    {.service = kRuntime, .name = "StopPodSandbox", .act = &Service::stop_sandbox},
    {.service = kRuntime, .name = "RemovePodSandbox", .act = &Service::remove_sandbox},
    {.service = kRuntime, .name = "PodSandboxStatus", .now = &Service::sandbox_status},
    {.service = kRuntime, .name = "ListPodSandbox", .now = &Service::list_sandboxes},
    {.service = kRuntime, .name = "StreamPodSandboxes", .now = &Service::list_sandboxes, .list = "items", .part = "pod_sandboxes"},
    {.service = kRuntime, .name = "UpdatePodSandboxResources", .act = &Service::update_sandbox},
    {.service = kRuntime, .name = "PortForward", .now = &Service::port_forward},
    {.service = kRuntime, .name = "CreateContainer", .later = &Service::create_container},
    {.service = kRuntime, .name = "StartContainer", .act = &Service::start_container},
    {.service = kRuntime, .name = "StopContainer", .act = &Service::stop_container},
    {.service = kRuntime, .name = "RemoveContainer", .act = &Service::remove_container},
    {.service = kRuntime, .name = "ListContainers", .now = &Service::list_containers},
    {.service = kRuntime, .name = "StreamContainers", .now = &Service::list_containers, .list = "containers", .part = "containers"},
    {.service = kRuntime, .name = "ContainerStatus", .now = &Service::container_status},
    {.service = kRuntime, .name = "UpdateContainerResources", .act = &Service::update_container},
    {.service = kRuntime, .name = "ReopenContainerLog", .act = &Service::reopen_log},
    {.service = kRuntime, .name = "ExecSync", .later = &Service::exec_sync},
    {.service = kRuntime, .name = "Exec", .now = &Service::exec},
    {.service = kRuntime, .name = "Attach", .now = &Service::attach},
    {.service = kRuntime, .name = "ContainerStats", .later = &Service::container_stats},
    {.service = kRuntime, .name = "ListContainerStats", .later = &Service::list_container_stats},
    {.service = kRuntime, .name = "StreamContainerStats", .later = &Service::list_container_stats, .list = "stats", .part = "container_stats"},
    {.service = kRuntime, .name = "PodSandboxStats", .later = &Service::sandbox_stats},
    {.service = kRuntime, .name = "ListPodSandboxStats", .later = &Service::list_sandbox_stats},
    {.service = kRuntime, .name = "StreamPodSandboxStats", .later = &Service::list_sandbox_stats, .list = "stats", .part = "pod_sandbox_stats"},
    {.service = kRuntime, .name = "ListMetricDescriptors", .now = &Service::list_metric_descriptors},
    {.service = kRuntime, .name = "ListPodSandboxMetrics", .later = &Service::list_sandbox_metrics},
    {.service = kRuntime, .name = "StreamPodSandboxMetrics", .later = &Service::list_sandbox_metrics, .list = "pod_metrics", .part = "pod_sandbox_metrics"},
    {.service = kImages, .name = "ListImages", .now = &Service::list_images},
    {.service = kImages, .name = "StreamImages", .now = &Service::list_images, .list = "images", .part = "images"},
    {.service = kImages, .name = "ImageStatus", .later = &Service::image_status},
    {.service = kImages, .name = "PullImage", .later = &Service::pull_image},
    {.service = kImages, .name = "RemoveImage", .later = &Service::remove_image},
    {.service = kImages, .name = "ImageFsInfo", .later = &Service::image_fs_info},
};

std::vector<std::string> Service::method_paths() {
  std::vector<std::string> out{std::string(kEvents)};
  for (const Method& m : kMethods) out.push_back(cat(kPackage, m.service, "/", m.name));
  return out;
}

Task<Result<>> Service::handle(http::Exchange& exchange) {
  if (!http::is_grpc(exchange.request())) co_return co_await exchange.respond(415, {}, "this is a gRPC service\n");
  http::GrpcServerCall call(exchange);
  std::string_view path = call.method();
  auto method = std::ranges::find_if(kMethods, [&](const Method& m) { return path == cat(kPackage, m.service, "/", m.name); });
  bool events = path == kEvents;
  if (method == std::end(kMethods) && !events) co_return co_await call.finish(refuse(Code::kUnimplemented, {"unknown method ", path}));
  Result<std::optional<std::string>> message = co_await call.read();
  if (message && !*message) message = fail(Code::kInvalidArgument, "no request message");
  if (!message) co_return co_await call.finish(fail(std::move(message).error()));
  if (events) co_return co_await serve_events(call);
  Result<json::Value> told = co_await answer(*method, **message);
  if (!told) co_return co_await call.finish(fail(std::move(told).error()));
  if (!method->list.empty()) co_return co_await serve_parts(call, *method, std::move(*told));
  co_return co_await call.answer(encode_message(*told, *Schema::get().find(cat(method->name, "Response"))));
}

Task<Result<json::Value>> Service::answer(const Method& method, const std::string& message) {
  if (message.size() > kRequestBytesMax) co_return refuse(Code::kResourceExhausted, {"request is larger than ", std::to_string(kRequestBytesMax), " bytes"});
  CO_TRY_ASSIGN(json::Value request, decode_message(message, *Schema::get().find(cat(method.name, "Request"))));
  if (method.now != nullptr) co_return (this->*method.now)(request);
  if (method.later != nullptr) co_return co_await (this->*method.later)(request);
  CO_TRY(co_await (this->*method.act)(request));
  co_return json::Object{};
}

// No list, no part.
Task<Result<>> Service::serve_parts(http::GrpcServerCall& call, const Method& method, json::Value answer) {
  const Message& type = *Schema::get().find(cat(method.name, "Response"));
  const json::Array* list = json::get_array(answer, {method.list});
  for (std::size_t at = 0; list != nullptr && at < list->size(); at += kListChunk) {
    auto begin = list->begin() + static_cast<std::ptrdiff_t>(at);
    auto end = list->begin() + static_cast<std::ptrdiff_t>(std::min(list->size(), at + kListChunk));
    CO_TRY(co_await call.write(encode_message(json::Object{{method.part, json::Array(begin, end)}}, type)));
  }
  co_return co_await call.finish({});
}

Task<Result<>> Service::serve_events(http::GrpcServerCall& call) {
  Events::Listener listener(p_.events);
  const Message& type = *Schema::get().find("ContainerEventResponse");
  CO_TRY(co_await call.write_framed({}));  // who waits for the stream to begin need not wait for an event
  for (;;) {  // forever: until the client goes, or does not read
    Result<json::Value> event = co_await listener.queue.pop();
    if (!event && event.error().code() == Code::kCancelled) co_return fail(std::move(event).error());
    if (!event) co_return co_await call.finish(fail(Code::kUnavailable, "the stream of events ends here"));
    CO_TRY(co_await call.write(encode_message(*event, type)));
  }
}

void Service::tell(EventKind kind, const std::string& id, const std::string& sandbox_id) {
  if (kind == EventKind::kDeleted) samples_.erase(id);
  if (!p_.events.has_listeners()) return;
  json::Object event{{"container_id", id}, {"container_event_type", static_cast<int>(kind)}, {"created_at", nanos(p_.parts.time.wall())}};
  if (auto s = p_.pods.find_sandbox(sandbox_id)) event["pod_sandbox_status"] = describe_sandbox_status(**s);
  event["containers_statuses"] = container_statuses(sandbox_id);
  p_.events.emit(event);
}

json::Array Service::container_statuses(const std::string& sandbox_id) const {
  json::Array out;
  for (const ContainerPtr& c : p_.pods.containers_of(sandbox_id)) out.push_back(describe_container_status(*c, p_.parts.images.find(c->image_id)));
  return out;
}

}  // namespace monopod::cri
