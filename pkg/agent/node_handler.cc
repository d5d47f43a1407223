#include "agent/node_handler.h"

#include "agent/logs.h"
#include "agent/sidecar.h"
#include "base/strings.h"

namespace monopod::agent {

namespace {

http::Headers plain() {
  http::Headers h;
  h.set("content-type", "text/plain; charset=utf-8");
  return h;
}

}  // namespace

async::Task<Result<>> NodeHandler::handle(http::Exchange& exchange) {
  CO_TRY_ASSIGN(std::string path, http::decode_path(exchange.request().raw_path()));
  std::vector<std::string> parts;
  for (std::string_view part : split(path, '/'))
    if (!part.empty()) parts.emplace_back(part);
  if (parts.empty()) co_return fail(Code::kNotFound, "404 page not found");
  const std::string& verb = parts[0];
  if (verb == "healthz") co_return co_await exchange.respond(200, plain(), std::string("ok"));
  CO_TRY(co_await pods_.wait_complete());
  if (verb == "pods" && parts.size() == 1) co_return co_await list_pods(exchange);
  if (verb == "stats" && parts.size() == 2 && parts[1] == "summary") co_return co_await stats_summary(exchange);
  if (verb == "metrics" && parts.size() == 2 && parts[1] == "resource") co_return co_await resource_metrics(exchange);
  if (verb == "metrics" && parts.size() == 2 && parts[1] == "proxy" && deps_.sidecars != nullptr) co_return co_await exchange.respond(200, plain(), deps_.sidecars->metrics());
  if (verb == "portForward" && (parts.size() == 3 || parts.size() == 4)) co_return co_await port_forward(exchange, parts);
  bool of_container = verb == "containerLogs" || verb == "exec" || verb == "attach" || verb == "run";
  if (!of_container || parts.size() < 4) co_return fail(Code::kNotFound, "404 page not found");
  CO_TRY_ASSIGN(Target target, find_target(parts));
  if (verb == "containerLogs") co_return co_await logs(exchange, std::move(target));
  if (verb == "exec") co_return co_await exec(exchange, std::move(target));
  if (verb == "attach") co_return co_await attach(exchange, std::move(target));
  co_return co_await run(exchange, std::move(target));
}

// /verb/ns/pod/container, or with the uid before the container.
Result<NodeHandler::Target> NodeHandler::find_target(const std::vector<std::string>& parts) const {
  const PodWorker* worker = pods_.find(parts[1], parts[2]);
  if (!worker) return fail(Code::kNotFound, cat("pod \"", parts[2], "\" not found"));
  Target out;
  out.pod = worker->shared_pod();
  const std::string& name = parts.back();
  out.container = out.pod->find_container(name);
  if (!out.container) return fail(Code::kInvalidArgument, cat("container ", name, " is not valid for pod ", out.pod->name));
  out.state = worker->state().of(name);
  return out;
}

async::Task<Result<>> NodeHandler::logs(http::Exchange& exchange, Target target) {
  std::string query(exchange.request().raw_query());
  CO_TRY_ASSIGN(LogOptions options, parse_log_options(query, deps_.time.wall()));
  const std::string& name = target.container->name;
  const ContainerState& state = target.state;
  bool previous = http::parse_query(query).get_bool("previous");
  const Instance* which = nullptr;
  if (previous) {
    // While it waits for a restart, the attempt that ended is the previous one.
    if (state.previous) which = &*state.previous;
    if (!state.waiting_reason.empty() && state.exited()) which = &*state.current;
    if (!which) co_return fail(Code::kInvalidArgument, cat("previous terminated container \"", name, "\" in pod \"", target.pod->name, "\" not found"));
  } else if (state.current) {
    which = &*state.current;
  } else {
    std::string reason = state.waiting_reason;
    if (reason.empty()) reason = target.pod->init_containers.empty() ? "ContainerCreating" : "PodInitializing";
    std::string why = reason == "ErrImagePull" ? "image can't be pulled" : reason == "ImagePullBackOff" ? "trying and failing to pull image" : reason;
    co_return fail(Code::kInvalidArgument, cat("container \"", name, "\" in pod \"", target.pod->name, "\" is waiting to start: ", why));
  }
  std::string id = which->id;
  std::string file = machine_.log_path(*target.pod, name, which->attempt);
  http::Headers headers = plain();
  headers.set("cache-control", "no-cache");
  CO_TRY(co_await exchange.start(200, std::move(headers)));
  LogStream stream{.time = deps_.time,
                   .pool = deps_.pool,
                   .path = file,
                   .options = options,
                   .write = [&exchange](SharedBytes bytes) { return exchange.write(std::move(bytes)); },
                   .ended = [this, id] {
                     const Instance* now = machine_.find_instance(id);
                     return !now || now->state == RunState::kExited;
                   }};
  auto sent = co_await stream_log(std::move(stream));
  // A container that has ended before it wrote anything has no log file.
  if (!sent && sent.error().code() != Code::kNotFound) co_return sent;
  co_return co_await exchange.finish();
}

async::Task<Result<>> NodeHandler::list_pods(http::Exchange& exchange) {
  json::Array items;
  for (const PodWorker* worker : pods_.all()) {
    json::Value pod = *worker->pod().object;
    pod.get_object()["status"] = worker->status();
    items.push_back(std::move(pod));
  }
  json::Object list{{"kind", "PodList"}, {"apiVersion", "v1"}, {"metadata", json::Object{}}, {"items", std::move(items)}};
  http::Headers headers;
  headers.set("content-type", "application/json");
  co_return co_await exchange.respond(200, std::move(headers), json::format(json::Value(std::move(list))));
}

}  // namespace monopod::agent
