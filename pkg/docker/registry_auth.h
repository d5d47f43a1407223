// Credentials that clients send along: X-Registry-Auth, and docker login.
#pragma once

#include <string_view>

#include "docker/containers.h"
#include "image/registry.h"

namespace monopod::docker {

// base64url of {"username":…,"password":…} or {"identitytoken":…} or {"registrytoken":…}; empty: none. kInvalidArgument otherwise.
Result<image::RegistryAuth> parse_registry_auth(std::string_view header);
// Asks the registry; kUnauthenticated where it refuses them.
async::Task<Result<>> check_login(Parts& parts, std::string address, image::RegistryAuth auth);

}  // namespace monopod::docker
