// The condition Dangling of FlowSchemas: whether the priority level that they name is there.
#include "api/serve/works.h"
#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kGroup = "flowcontrol.apiserver.k8s.io";

async::Task<Outcome<json::Value>> ready(json::Value tree) { co_return tree; }

// With the condition as it should be; nullopt where it is that already.
std::optional<json::Value> judged(const json::Value& schema, const WatchCache& levels, WallTime now) {
  std::string level(json::get_string(schema, {"spec", "priorityLevelConfiguration", "name"}));
  bool found = levels.find(level) != nullptr;
  json::Object wanted{{"type", "Dangling"}, {"status", found ? "False" : "True"}, {"lastTransitionTime", format_rfc3339(now)}, {"reason", found ? "Found" : "NotFound"},
                      {"message", cat("This FlowSchema references the PriorityLevelConfiguration object named \"", level, found ? "\" and it exists" : "\" but there is no such object")}};
  json::Value out = schema;
  json::Value& list = json::at_path(out, {"status", "conditions"});
  json::Array& conditions = list.is_array() ? list.get_array() : list.emplace_array();
  for (json::Value& condition : conditions) {
    if (json::get_string(condition, {"type"}) != "Dangling") continue;
    if (json::get_string(condition, {"status"}) == std::string_view(wanted["status"].get_string()) && json::get_string(condition, {"message"}) == std::string_view(wanted["message"].get_string())) return std::nullopt;
    condition = std::move(wanted);
    return out;
  }
  conditions.push_back(std::move(wanted));
  return out;
}

async::Task<Result<>> judge_all(ServerWorks& works, const Resource& resource, const WatchCache& schemas, const WatchCache& levels) {
  for (const ObjectPtr& schema : std::vector<ObjectPtr>(schemas.objects().begin(), schemas.objects().end())) {
    if (!judged(schema->tree(), levels, works.parts.time.wall())) continue;
    Call call;
    call.user = system_user("system:apiserver");
    call.verb = "update";
    call.resource = &resource;
    call.name = schema->name();
    call.subresource = "status";
    call.options.field_manager = "api-priority-and-fairness-config-consumer-v1";
    Mutation mutation = [&](const json::Value& live) { return ready(judged(live, levels, works.parts.time.wall()).value_or(live)); };
    Outcome<ObjectPtr> out = co_await works.registry.modify(call, mutation);
    if (!out && out.error().code == http_status(Code::kCancelled)) co_return fail(Code::kCancelled, out.error().message);
    if (!out && out.error().code != 404) log::warn("condition of a flow schema not written", {{"name", call.name}, {"error", out.error().message}});
  }
  co_return Result<>();
}

// Judges all schemas whenever an object of that resource has changed.
async::Task<Result<>> follow(ServerWorks& works, std::string plural) {
  const Resource* schemas_row = find_resource(kGroup, "v1", "flowschemas");
  WatchCache *schemas = works.caches.find(kGroup, "flowschemas"), *levels = works.caches.find(kGroup, "prioritylevelconfigurations"), *cache = works.caches.find(kGroup, plural);
  if (schemas_row == nullptr || schemas == nullptr || levels == nullptr || cache == nullptr) co_return Result<>();
  auto subscribe = [&] {
    Selection all;
    all.resource = find_resource(kGroup, "v1", plural);
    return cache->subscribe(std::move(all), nullptr);
  };
  std::unique_ptr<Watcher> changes = subscribe();
  while (true) {  // forever: until cancelled
    CO_TRY(co_await judge_all(works, *schemas_row, *schemas, *levels));
    auto next = co_await changes->next();
    while (next && changes->try_next()) {  // what else has changed is looked at together
    }
    if (!next && next.error().code() != Code::kOutOfRange) co_return fail(next.error());
    if (!next) changes = subscribe();
  }
}

}  // namespace

async::Task<Result<>> keep_flow_status(ServerWorks& works) {
  async::Scope scope(works.parts.executor);
  scope.spawn(follow(works, "flowschemas"));
  scope.spawn(follow(works, "prioritylevelconfigurations"));
  co_return co_await scope.join();
}

}  // namespace monopod::api
