// The verbs as both doors (HTTP and LocalApi) use them, after authorisation: resource or subresource, stored or answered on
// the spot.
#pragma once

#include "api/authn/authenticator.h"
#include "api/authz/authorizer.h"
#include "api/registry/registry.h"
#include "api/serve/body.h"
#include "api/subresource/subresource.h"

namespace monopod::api {

// Either a stored object or a document made for this answer.
struct Answer {
  int code = 200;
  ObjectPtr object;
  json::Value tree;
};

class Operations {
 public:
  Operations(Registry& registry, std::vector<std::unique_ptr<SubresourceHandler>> handlers, Authenticator& authenticator,
             Authorizer& authorizer);

  // The row of the subresource, null for the main resource; 404 or 405 where there is no such thing.
  Outcome<const Subresource*> check(const Call& call) const;
  // What a body for this call must be.
  BodyTarget body_target(const Call& call, const Subresource* subresource) const;

  async::Task<Outcome<Answer>> get(Call& call, std::string resource_version);
  async::Task<Outcome<Answer>> create(Call& call, json::Value body);
  async::Task<Outcome<Answer>> update(Call& call, json::Value body);
  async::Task<Outcome<Answer>> patch(Call& call, PatchType type, json::Value patch);
  // Registry::reapply(), for what patch() would give to the registry; null for all else.
  async::Task<Outcome<ObjectPtr>> reapply(const Call& call);
  Registry& registry() { return registry_; }

 private:
  SubresourceHandler* handler_of(const Call& call) const;
  async::Task<Outcome<Answer>> patch_through(SubresourceHandler& handler, Call& call, PatchType type, const json::Value& patch);

  Registry& registry_;
  std::vector<std::unique_ptr<SubresourceHandler>> handlers_;
  Authenticator& authenticator_;
  Authorizer& authorizer_;
};

// The resources that are questions, not storage: token, access and subject reviews. Null tree: not one of them.
bool is_review(const Resource& resource);
async::Task<Outcome<json::Value>> answer_review(Call& call, json::Value body, Authenticator& authenticator, Authorizer& authorizer,
                                                Registry& registry);

}  // namespace monopod::api
