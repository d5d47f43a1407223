#include "api/subresource/subresource.h"

namespace monopod::api {

std::vector<std::unique_ptr<SubresourceHandler>> make_subresource_handlers(const SubresourceParts& parts) {
  std::vector<std::unique_ptr<SubresourceHandler>> list;
  list.push_back(make_scale(parts.registry));
  list.push_back(make_binding(parts.registry));
  list.push_back(make_eviction(parts.registry));
  list.push_back(make_token(parts.registry, parts.tokens));
  list.push_back(make_finalize(parts.registry));
  return list;
}

async::Task<Outcome<SubresourceAnswer>> SubresourceHandler::get(Call& call) { co_return refuse(method_not_supported(call.ref(), "get")); }
async::Task<Outcome<SubresourceAnswer>> SubresourceHandler::create(Call& call, json::Value) {
  co_return refuse(method_not_supported(call.ref(), "create"));
}
async::Task<Outcome<SubresourceAnswer>> SubresourceHandler::update(Call& call, json::Value) {
  co_return refuse(method_not_supported(call.ref(), "update"));
}

}  // namespace monopod::api
