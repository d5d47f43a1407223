#include "client/api.h"

#include "base/log.h"

namespace monopod::client {

std::string Resource::api_version() const {
  return group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
}

json::Value Object::tree() const {
  auto parsed = json::parse(*bytes);
  if (parsed) return std::move(*parsed);
  log::error("API object does not parse", {{"object", key()}, {"why", parsed.error()}});
  return json::Object();
}

Result<Object> parse_object(std::string bytes) {
  TRY_ASSIGN(json::Value tree, json::parse(bytes));
  Object object;
  object.ns = json::get_string(tree, {"metadata", "namespace"});
  object.name = json::get_string(tree, {"metadata", "name"});
  object.uid = json::get_string(tree, {"metadata", "uid"});
  object.resource_version = json::get_string(tree, {"metadata", "resourceVersion"});
  if (json::get_object(tree, {"metadata"}) == nullptr)
    return fail(Code::kInvalidArgument, "parse API object: metadata is missing");
  object.bytes = share(std::move(bytes));
  return object;
}

}  // namespace monopod::client
