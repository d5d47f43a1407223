// Admission: what happens to a write between authorisation and validation. One ordered list (list.cc): first every plugin's
// mutate() in order, then, when the object has its final form, every validate().
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "api/authz/authorizer.h"
#include "api/cache/cache_set.h"
#include "api/local.h"
#include "api/server.h"
#include "api/status.h"

namespace monopod::api {

enum class Operation { kCreate, kUpdate, kDelete, kConnect };

struct AdmissionRequest {
  const UserInfo& user;
  Operation operation;
  const Resource& resource;  // storage version; of custom kinds the requested one
  std::string ns;
  std::string name;
  std::string subresource;
  json::Value* object = nullptr;     // null on delete; canonical storage-version tree
  const json::Value* old = nullptr;  // null on create
  bool dry_run = false;
  std::vector<std::string>& warnings;
  // Called once when the write is done: committed and in the caches, or not.
  std::vector<std::function<void(bool committed)>>& on_done;
  std::shared_ptr<const void> keep{};  // of a custom kind: holds its row, for who remembers it beyond the call

  bool is(std::string_view group, std::string_view plural) const { return resource.group() == group && resource.plural() == plural; }
  ResourceRef ref() const { return {resource.group(), resource.plural()}; }
};

class QuotaLedger;  // quota/ledger.h

class AdmissionPlugin {
 public:
  virtual ~AdmissionPlugin() = default;
  virtual std::string_view name() const = 0;
  // Cheap filter: plugins that say no cost nothing more. Before an update that changes nothing it is asked without their trees: object and
  // old then point to the same empty one, so it may look for a difference between them, not for what they hold.
  virtual bool handles(const AdmissionRequest& request) const = 0;
  // May change *request.object. The default leaves it.
  virtual async::Task<Outcome<>> mutate(AdmissionRequest& request);
  virtual async::Task<Outcome<>> validate(AdmissionRequest& request);
};

struct AdmissionParts {
  CacheSet& caches;
  async::Time& time;
  Rng& rng;
  const ServerOptions& options;
  Authorizer& authorizer;
  QuotaLedger& quotas;
};

class AdmissionChain {
 public:
  explicit AdmissionChain(std::vector<std::unique_ptr<AdmissionPlugin>> plugins) : plugins_(std::move(plugins)) {}
  async::Task<Outcome<>> mutate(AdmissionRequest& request);
  async::Task<Outcome<>> validate(AdmissionRequest& request);
  // No plugin has to do with the request.
  bool idle(const AdmissionRequest& request) const;

 private:
  std::vector<std::unique_ptr<AdmissionPlugin>> plugins_;
};

// The list; order is execution order.
std::vector<std::unique_ptr<AdmissionPlugin>> make_admission_plugins(const AdmissionParts& parts);

}  // namespace monopod::api
