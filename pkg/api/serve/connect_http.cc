// log, exec, attach and portforward: checked here, answered by the node's own handler on the same exchange.
#include "api/serve/works.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

struct ContainerNames {
  std::vector<std::string> plain, init, ephemeral;
};

void collect(const json::Value& pod, std::string_view member, std::vector<std::string>& out) {
  if (const json::Array* list = json::get_array(pod, {"spec", member}))
    for (const json::Value& item : *list) out.emplace_back(json::get_string(item, {"name"}));
}

ContainerNames names_of(const json::Value& pod) {
  ContainerNames out;
  collect(pod, "containers", out.plain);
  collect(pod, "initContainers", out.init);
  collect(pod, "ephemeralContainers", out.ephemeral);
  return out;
}

// Go prints a list as [a b].
std::string go_list(const std::vector<std::string>& list) { return cat('[', join(list, " "), ']'); }

Outcome<std::string> choose_container(const json::Value& pod, const std::string& pod_name, const std::string& asked) {
  ContainerNames names = names_of(pod);
  if (asked.empty()) {
    if (names.plain.size() == 1) return names.plain.front();
    if (names.plain.empty()) return refuse(bad_request(cat("a container name must be specified for pod ", pod_name)));
    std::string text = cat("a container name must be specified for pod ", pod_name, ", choose one of: ", go_list(names.plain));
    if (!names.init.empty()) text += cat(" or one of the init containers: ", go_list(names.init));
    if (!names.ephemeral.empty()) text += cat(" or one of the ephemeral containers: ", go_list(names.ephemeral));
    return refuse(bad_request(std::move(text)));
  }
  for (const auto* list : {&names.plain, &names.init, &names.ephemeral})
    for (const std::string& name : *list)
      if (name == asked) return asked;
  return refuse(bad_request(cat("container ", asked, " is not valid for pod ", pod_name)));
}

const json::Value* status_of(const json::Value& pod, std::string_view container) {
  for (std::string_view member : {"containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"})
    if (const json::Array* list = json::get_array(pod, {"status", member}))
      for (const json::Value& item : *list)
        if (json::get_string(item, {"name"}) == container) return &item;
  return nullptr;
}

// A log of a container that has not run has nothing to give: say why it waits.
Outcome<void> check_started(const json::Value& pod, const std::string& name, const std::string& container, bool previous) {
  const json::Value* status = status_of(pod, container);
  if (previous) {
    if (status == nullptr || json::find(*status, {"lastState", "terminated"}) == nullptr)
      return refuse(bad_request(cat("previous terminated container \"", container, "\" in pod \"", name, "\" not found")));
    return {};
  }
  if (status == nullptr) return {};
  const json::Value* waiting = json::find(*status, {"state", "waiting"});
  if (waiting == nullptr || json::find(*status, {"lastState", "terminated"}) != nullptr) return {};
  std::string_view reason = json::get_string(*waiting, {"reason"}, "ContainerCreating");
  if (reason == "ErrImagePull") reason = "image can't be pulled";
  if (reason == "ImagePullBackOff") reason = "trying and failing to pull image";
  return refuse(bad_request(cat("container \"", container, "\" in pod \"", name, "\" is waiting to start: ", reason)));
}

std::string query_without(const QueryParams& query, std::string_view name) {
  QueryParams out;
  for (const auto& [key, value] : query.pairs())
    if (key != name) out.set(key, value);
  return out.format();
}

// Over WebSocket these come as GET, over SPDY as POST; what they do needs the permission to create either way (KEP-4006, and
// AuthorizePodWebsocketUpgradeCreatePermission, on since 1.35).
Outcome<void> may_open_streams(HttpCall& call) {
  const std::string& what = call.info.subresource;
  if (call.info.verb == "create" || (what != "exec" && what != "attach" && what != "portforward")) return {};
  Attributes attributes = attributes_of(call.user, call.info);
  attributes.verb = "create";
  Decision decision = call.works.authorizer.authorize(attributes);
  if (decision.allowed) return {};
  return refuse(denial(attributes, decision.reason));
}

async::Task<Outcome<>> connect_pod(HttpCall& call, Call& api_call) {
  CO_OUT(may_open_streams(call));
  const QueryParams& query = call.info.query;
  CO_OUT_ASSIGN(ObjectPtr object, co_await call.works.registry.get(api_call, ""));
  json::Value pod = object->tree();
  std::string node(json::get_string(pod, {"spec", "nodeName"}));
  std::string place = cat('/', api_call.ns, '/', api_call.name);
  if (api_call.subresource == "portforward") {
    if (node.empty()) co_return refuse(bad_request(cat("pod ", api_call.name, " does not have a host assigned")));
    co_return co_await delegate_to_node(call, node, cat("/portForward", place), query.format());
  }
  CO_OUT_ASSIGN(std::string container, choose_container(pod, api_call.name, query.get("container")));
  std::string segment = percent_encode(container);
  if (api_call.subresource == "log") {
    if (node.empty()) co_return co_await respond(call, 200, {{"content-type", "text/plain"}}, share(""));
    CO_OUT(check_started(pod, api_call.name, container, query.flag("previous")));
    co_return co_await delegate_to_node(call, node, cat("/containerLogs", place, '/', segment), query_without(query, "container"));
  }
  if (node.empty()) co_return refuse(bad_request(cat("pod ", api_call.name, " does not have a host assigned")));
  std::string_view phase = json::get_string(pod, {"status", "phase"});
  if (phase == "Succeeded" || phase == "Failed")
    co_return refuse(bad_request(cat("cannot exec into a container in a completed pod; current phase is ", phase)));
  co_return co_await delegate_to_node(call, node, cat('/', api_call.subresource, place, '/', segment), query_without(query, "container"));
}

}  // namespace

async::Task<Outcome<>> delegate_to_node(HttpCall& call, std::string_view node, std::string path, std::string query) {
  http::Handler* handler = call.works.parts.nodes.find(node);
  if (handler == nullptr) co_return refuse(Status(500, "InternalError", cat("error dialing backend: node \"", node, "\" is not reachable")));
  call.exchange.request().target = query.empty() ? std::move(path) : cat(path, '?', query);
  call.exchange.request().headers.remove("authorization");  // the client's credentials end here
  call.code = 200;
  CO_OUT(co_await handler->handle(call.exchange));
  co_return Outcome<>();
}

async::Task<Outcome<>> serve_connect(HttpCall& call, Call& api_call) {
  if (api_call.subresource == "proxy") co_return co_await serve_proxy(call, api_call);
  co_return co_await connect_pod(call, api_call);
}

}  // namespace monopod::api
