// What lives under an object's path and is not simply the object: one row each in list.cc.
//   status, ephemeralcontainers, resize: ordinary update and patch; api/kinds says what they may touch. No row.
#pragma once

#include "api/authn/service_accounts.h"
#include "api/registry/registry.h"

namespace monopod::api {

struct SubresourceParts {
  Registry& registry;
  ServiceAccountTokens& tokens;
};

// The answer is a JSON document of another kind than the object: Scale, TokenRequest, Status.
struct SubresourceAnswer {
  int code = 200;
  json::Value body;
};

class SubresourceHandler {
 public:
  virtual ~SubresourceHandler() = default;
  virtual std::string_view name() const = 0;
  // plural restricts the row to one resource; empty: every resource that has the subresource.
  virtual std::string_view plural() const { return {}; }
  virtual async::Task<Outcome<SubresourceAnswer>> get(Call& call);
  // body: canonical tree of the subresource's kind.
  virtual async::Task<Outcome<SubresourceAnswer>> create(Call& call, json::Value body);
  virtual async::Task<Outcome<SubresourceAnswer>> update(Call& call, json::Value body);
};

std::vector<std::unique_ptr<SubresourceHandler>> make_subresource_handlers(const SubresourceParts& parts);

// One constructor each; the files are named after them.
std::unique_ptr<SubresourceHandler> make_scale(Registry& registry);
std::unique_ptr<SubresourceHandler> make_binding(Registry& registry);
std::unique_ptr<SubresourceHandler> make_eviction(Registry& registry);
std::unique_ptr<SubresourceHandler> make_token(Registry& registry, ServiceAccountTokens& tokens);
std::unique_ptr<SubresourceHandler> make_finalize(Registry& registry);

}  // namespace monopod::api
