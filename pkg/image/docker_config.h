// Credentials for registries as docker login and podman login keep them: config.json, auth.json.
//   {"auths": {"host[:port][/path]" or "https://host/v1/": {"auth": base64 of user:password} or {"username", "password"} or {"registrytoken"}}}
// Helpers ("credsStore", "credHelpers") are programs and are not run; a login they keep is an error that names them.
#pragma once

#include <string>
#include <string_view>

#include "image/reference.h"
#include "image/registry.h"

namespace monopod::image {

// What the file has for the reference: of the longest key that names its repository, one above it, or its host. Empty where there is nothing.
// kInvalidArgument where the file cannot be understood, kUnimplemented for a helper or an identity token.
Result<RegistryAuth> find_docker_auth(std::string_view config_json, const Reference& reference);

// The same of the first file that has something: auth_file where it is given, else those that REGISTRY_AUTH_FILE, DOCKER_CONFIG, XDG_RUNTIME_DIR and HOME
// name. Blocking.
Result<RegistryAuth> find_kept_login(const Reference& reference, const std::string& auth_file = {});

}  // namespace monopod::image
