#include "cri/service.h"

#include <algorithm>

#include "base/strings.h"
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
    {kRuntime, "Version", &Service::version},
    {kRuntime, "Status", &Service::status},
    {kRuntime, "RuntimeConfig", &Service::runtime_config},
    {kRuntime, "UpdateRuntimeConfig", &Service::update_runtime_config},
    {kRuntime, "CheckpointContainer", &Service::checkpoint_container},
    {kRuntime, "RunPodSandbox", &Service::run_sandbox},
    {kRuntime, "StopPodSandbox", &Service::stop_sandbox},
    {kRuntime, "RemovePodSandbox", &Service::remove_sandbox},
    {kRuntime, "PodSandboxStatus", &Service::sandbox_status},
    {kRuntime, "ListPodSandbox", &Service::list_sandboxes},
    {kRuntime, "StreamPodSandboxes", &Service::list_sandboxes, "items", "pod_sandboxes"},
    {kRuntime, "UpdatePodSandboxResources", &Service::update_sandbox},
    {kRuntime, "PortForward", &Service::port_forward},
    {kRuntime, "CreateContainer", &Service::create_container},
    {kRuntime, "StartContainer", &Service::start_container},
    {kRuntime, "StopContainer", &Service::stop_container},
    {kRuntime, "RemoveContainer", &Service::remove_container},
    {kRuntime, "ListContainers", &Service::list_containers},
    {kRuntime, "StreamContainers", &Service::list_containers, "containers", "containers"},
    {kRuntime, "ContainerStatus", &Service::container_status},
    {kRuntime, "UpdateContainerResources", &Service::update_container},
    {kRuntime, "ReopenContainerLog", &Service::reopen_log},
    {kRuntime, "ExecSync", &Service::exec_sync},
    {kRuntime, "Exec", &Service::exec},
    {kRuntime, "Attach", &Service::attach},
    {kRuntime, "ContainerStats", &Service::container_stats},
    {kRuntime, "ListContainerStats", &Service::list_container_stats},
    {kRuntime, "StreamContainerStats", &Service::list_container_stats, "stats", "container_stats"},
    {kRuntime, "PodSandboxStats", &Service::sandbox_stats},
    {kRuntime, "ListPodSandboxStats", &Service::list_sandbox_stats},
    {kRuntime, "StreamPodSandboxStats", &Service::list_sandbox_stats, "stats", "pod_sandbox_stats"},
    {kRuntime, "ListMetricDescriptors", &Service::list_metric_descriptors},
    {kRuntime, "ListPodSandboxMetrics", &Service::list_sandbox_metrics},
    {kRuntime, "StreamPodSandboxMetrics", &Service::list_sandbox_metrics, "pod_metrics", "pod_sandbox_metrics"},
    {kImages, "ListImages", &Service::list_images},
    {kImages, "StreamImages", &Service::list_images, "images", "images"},
    {kImages, "ImageStatus", &Service::image_status},
    {kImages, "PullImage", &Service::pull_image},
    {kImages, "RemoveImage", &Service::remove_image},
    {kImages, "ImageFsInfo", &Service::image_fs_info},
};

std::vector<std::string> Service::method_paths() {
  std::vector<std::string> out{std::string(kEvents)};
  for (const Method& m : kMethods) out.push_back(cat(kPackage, m.service, "/", m.name));
  return out;
}

Task<Result<>> Service::handle(http::Exchange& exchange) {
  if (!http::is_grpc(exchange.request())) co_return co_await exchange.respond(415, {}, "this is a gRPC service\n");
  http::GrpcServerCall call(exchange);
  if (call.method() == kEvents) co_return co_await serve_events(call);
  for (const Method& method : kMethods)
    if (std::string_view path = call.method(); path.starts_with(kPackage) && path.substr(kPackage.size()) == cat(method.service, "/", method.name)) co_return co_await serve(call, method);
  co_return co_await call.finish(fail(Code::kUnimplemented, cat("unknown method ", call.method())));
}

Task<Result<>> Service::serve(http::GrpcServerCall& call, const Method& method) {
  Result<std::optional<std::string>> message = co_await call.read();
  if (!message) co_return co_await call.finish(fail(std::move(message).error()));
  if (!*message) co_return co_await call.finish(fail(Code::kInvalidArgument, "no request message"));
  if ((*message)->size() > kRequestBytesMax) co_return co_await call.finish(fail(Code::kResourceExhausted, cat("request is larger than ", kRequestBytesMax, " bytes")));
  const Schema& schema = Schema::get();
  Result<json::Value> request = decode_message(**message, *schema.find(cat(method.name, "Request")));
  if (!request) co_return co_await call.finish(fail(std::move(request).error()));
  Result<json::Value> answer = co_await (this->*method.call)(*request);
  if (!answer) co_return co_await call.finish(fail(std::move(answer).error()));
  if (!method.list.empty()) co_return co_await serve_parts(call, method, std::move(*answer));
  co_return co_await call.answer(encode_message(*answer, *schema.find(cat(method.name, "Response"))));
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
  Result<std::optional<std::string>> message = co_await call.read();
  if (!message) co_return co_await call.finish(fail(std::move(message).error()));
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
