#include "api/serve/operations.h"

#include "api/convert/convert.h"
#include "api/patch/patch.h"
#include "base/strings.h"

namespace monopod::api {

Operations::Operations(Registry& registry, std::vector<std::unique_ptr<SubresourceHandler>> handlers, Authenticator& authenticator,
                       Authorizer& authorizer)
    : registry_(registry), handlers_(std::move(handlers)), authenticator_(authenticator), authorizer_(authorizer) {}

Outcome<const Subresource*> Operations::check(const Call& call) const {
  const Resource& resource = *call.resource;
  if (!resource.namespaced && !call.ns.empty() && resource.plural() != "namespaces") return refuse(page_not_found());
  if (call.subresource.empty()) {
    static constexpr std::pair<std::string_view, Verb> kVerbs[] = {
        {"create", kCreate}, {"get", kGet}, {"list", kList}, {"watch", kWatch}, {"update", kUpdate}, {"patch", kPatch}, {"delete", kDelete},
        {"deletecollection", kDeleteCollection}};
    bool known = false;
    for (const auto& [name, verb] : kVerbs) known = known || (name == call.verb && resource.has(verb));
    bool everywhere = resource.namespaced && call.ns.empty() && call.verb != "list" && call.verb != "watch";
    // Access reviews and bindings are asked without storage; a namespaced write needs its namespace in the path.
    bool single = call.verb == "get" || call.verb == "update" || call.verb == "patch" || call.verb == "delete";
    bool misplaced = single ? call.name.empty() : (call.verb == "create" && !call.name.empty());
    if (everywhere && !call.name.empty()) return refuse(page_not_found());
    if (!known || everywhere || misplaced) return refuse(Status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"));
    return nullptr;
  }
  const Subresource* row = resource.find_subresource(call.subresource);
  if (row == nullptr || (resource.namespaced && call.ns.empty())) return refuse(page_not_found());
  return row;
}

BodyTarget Operations::body_target(const Call& call, const Subresource* subresource) const {
  const Resource& resource = *call.resource;
  if (subresource == nullptr || subresource->kind().empty() || subresource->kind() == resource.kind())
    return {&resource.type(), std::string(resource.group_version()), std::string(resource.kind())};
  std::string_view group = subresource->group(), version = subresource->version();
  if (group.empty() && version.empty()) {
    group = resource.group();
    version = resource.version();
  }
  if (version.empty()) version = "v1";
  return {find_type(group, version, subresource->kind()), group.empty() ? std::string(version) : cat(group, '/', version),
          std::string(subresource->kind())};
}

SubresourceHandler* Operations::handler_of(const Call& call) const {
  for (const auto& handler : handlers_)
    if (handler->name() == call.subresource && (handler->plural().empty() || handler->plural() == call.resource->plural())) return handler.get();
  return nullptr;
}

async::Task<Outcome<Answer>> Operations::get(Call& call, std::string resource_version) {
  if (SubresourceHandler* handler = call.subresource.empty() ? nullptr : handler_of(call)) {
    CO_OUT_ASSIGN(SubresourceAnswer answer, co_await handler->get(call));
    co_return Answer{answer.code, nullptr, std::move(answer.body)};
  }
  CO_OUT_ASSIGN(ObjectPtr object, co_await registry_.get(call, std::move(resource_version)));
  co_return Answer{200, object, {}};
}

async::Task<Outcome<Answer>> Operations::create(Call& call, json::Value body) {
  if (is_review(*call.resource)) {
    CO_OUT_ASSIGN(json::Value answer, co_await answer_review(call, std::move(body), authenticator_, authorizer_, registry_));
    co_return Answer{201, nullptr, std::move(answer)};
  }
  if (call.resource->kind() == "Binding" && !call.resource->is_custom && call.subresource.empty()) {  // the old door: the pod's name is the binding's
    call.name = json::get_string(body, {"metadata", "name"});
    call.resource = find_resource("", "v1", "pods");
    call.subresource = "binding";
  }
  if (!call.subresource.empty()) {
    SubresourceHandler* handler = handler_of(call);
    if (handler == nullptr) co_return refuse(method_not_supported(call.ref(), "create"));
    CO_OUT_ASSIGN(SubresourceAnswer answer, co_await handler->create(call, std::move(body)));
    co_return Answer{answer.code, nullptr, std::move(answer.body)};
  }
  CO_OUT_ASSIGN(ObjectPtr object, co_await registry_.create(call, to_stored(std::move(body), *call.resource)));
  co_return Answer{201, object, {}};
}

async::Task<Outcome<Answer>> Operations::update(Call& call, json::Value body) {
  if (SubresourceHandler* handler = call.subresource.empty() ? nullptr : handler_of(call)) {
    CO_OUT_ASSIGN(SubresourceAnswer answer, co_await handler->update(call, std::move(body)));
    co_return Answer{answer.code, nullptr, std::move(answer.body)};
  }
  CO_OUT_ASSIGN(ObjectPtr object, co_await registry_.update(call, to_stored(std::move(body), *call.resource)));
  co_return Answer{200, object, {}};
}

async::Task<Outcome<Answer>> Operations::patch_through(SubresourceHandler& handler, Call& call, PatchType type, const json::Value& patch) {
  CO_OUT_ASSIGN(SubresourceAnswer live, co_await handler.get(call));
  BodyTarget target = body_target(call, call.resource->find_subresource(call.subresource));
  json::Value merged;
  if (type == PatchType::kJson) {
    auto out = apply_json_patch(live.body, patch);
    if (!out) co_return refuse(Status(http_status(out.error().code()), "Invalid", out.error().message()));
    merged = std::move(*out);
  } else if (type == PatchType::kStrategic && target.type != nullptr) {
    auto out = apply_strategic_merge_patch(live.body, patch, *target.type);
    if (!out) co_return refuse(bad_request(out.error().message()));
    merged = std::move(*out);
  } else {
    merged = apply_merge_patch(std::move(live.body), patch);
  }
  if (target.type != nullptr) {
    auto decoded = decode_tree(std::move(merged), {target.type, target.group_version, target.kind}, FieldValidation::kIgnore);
    if (!decoded) co_return refuse(bad_request(decoded.error().message()));
    merged = std::move(decoded->object);
  }
  CO_OUT_ASSIGN(SubresourceAnswer answer, co_await handler.update(call, std::move(merged)));
  co_return Answer{answer.code, nullptr, std::move(answer.body)};
}

async::Task<Outcome<ObjectPtr>> Operations::reapply(const Call& call) {
  if (!call.subresource.empty() && handler_of(call) != nullptr) co_return nullptr;
  co_return co_await registry_.reapply(call);
}

async::Task<Outcome<Answer>> Operations::patch(Call& call, PatchType type, json::Value patch) {
  if (SubresourceHandler* handler = call.subresource.empty() ? nullptr : handler_of(call)) {
    Outcome<Answer> out = refuse(object_modified(call.ref(), call.name));
    for (int tries = 0; tries < 5; ++tries) {
      out = co_await patch_through(*handler, call, type, patch);
      if (out || out.error().reason != "Conflict") break;
    }
    co_return out;
  }
  bool created = false;
  CO_OUT_ASSIGN(ObjectPtr object, co_await registry_.patch(call, type, std::move(patch), created));
  co_return Answer{created ? 201 : 200, object, {}};
}

}  // namespace monopod::api
