// Service account tokens bound to pods, asked for by TokenRequest and renewed at 80 % of their life.
#pragma once

#include <map>
#include <string>

#include "agent/volumes/projection.h"
#include "async/time.h"
#include "client/api.h"

namespace monopod::agent {

class TokenManager {
 public:
  TokenManager(client::Api& api, async::Time& time) : api_(api), time_(time) {}

  // Every token that the pod's volumes ask for; those due are renewed. A renewal that fails keeps the old token while it lives.
  async::Task<Result<Tokens>> get(const Pod& pod);
  // When get() should be called again; nullopt for a pod without tokens.
  std::optional<MonoTime> refresh_at(const std::string& pod_uid) const;
  void forget(const std::string& pod_uid) { by_pod_.erase(pod_uid); }

 private:
  struct Entry {
    std::string token;
    MonoTime renew_at{};
    MonoTime expires_at{};
  };
  async::Task<Result<Entry>> request(std::string ns, std::string account, std::string pod_name, std::string pod_uid, ProjectionSource source);

  client::Api& api_;
  async::Time& time_;
  std::map<std::string, std::map<std::string, Entry>> by_pod_;
};

}  // namespace monopod::agent
