// Bootstrap tokens: secrets of type bootstrap.kubernetes.io/token in kube-system, by which a machine that has nothing else says who it
// is: `id.secret`, of 6 and 16 letters and digits. KEP "bootstrap tokens", k8s.io/cluster-bootstrap.
#pragma once

#include <optional>

#include "api/cache/cache_set.h"
#include "api/user.h"

namespace monopod::api {

// system:bootstrap:<id> in system:bootstrappers and the secret's auth-extra-groups. nullopt: not the form of such a token; 401: no
// secret that is of age, used for authentication, not being deleted and of this token.
std::optional<Outcome<UserInfo>> authenticate_bootstrap_token(std::string_view token, const CacheSet& caches, WallTime now);

}  // namespace monopod::api
