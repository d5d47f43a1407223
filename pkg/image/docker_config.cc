#include "image/docker_config.h"

#include <unistd.h>

#include <cstdlib>

#include "base/bytes.h"
#include "base/strings.h"
#include "codec/json.h"
#include "sys/root.h"

namespace monopod::image {
namespace {

// "https://index.docker.io/v1/" is how Docker Hub is written; other keys may have a scheme and a trailing version too.
std::string plain_key(std::string_view key) {
  for (std::string_view scheme : {"https://", "http://"})
    if (key.starts_with(scheme)) key.remove_prefix(scheme.size());
  for (std::string_view version : {"/v1/", "/v2/", "/v1", "/v2", "/"})
    if (key.ends_with(version)) {
      key.remove_suffix(version.size());
      break;
    }
  return std::string(key == "index.docker.io" || key == "registry-1.docker.io" ? "docker.io" : key);
}

bool covers(std::string_view key, std::string_view repository) { return repository == key || (repository.starts_with(key) && repository[key.size()] == '/'); }

Result<RegistryAuth> read_auth(const json::Value& entry, std::string_view key) {
  RegistryAuth out;
  out.token = std::string(json::get_string(entry, {"registrytoken"}));
  out.username = std::string(json::get_string(entry, {"username"}));
  out.password = std::string(json::get_string(entry, {"password"}));
  if (std::string_view packed = json::get_string(entry, {"auth"}); !packed.empty()) {
    auto pair = parse_base64(packed);
    if (!pair) return fail(Code::kInvalidArgument, cat("credentials of ", key, ": auth is not base64"));
    auto [user, password] = split_once(*pair, ':');
    if (!password || user.empty()) return fail(Code::kInvalidArgument, cat("credentials of ", key, ": auth is not user:password"));
    out.username = user;
    out.password = password->substr(0, password->find('\0'));
  }
  if (!json::get_string(entry, {"identitytoken"}).empty()) return fail(Code::kUnimplemented, cat("credentials of ", key, ": an identity token; log in with a password or give --creds"));
  return out;
}

}  // namespace

Result<RegistryAuth> find_docker_auth(std::string_view config_json, const Reference& reference) {
  TRY_ASSIGN(json::Value root, json::parse(config_json));
  const std::string repository = reference.repository();
  const json::Value* best = nullptr;
  std::string best_key;
  if (const json::Object* auths = json::get_object(root, {"auths"}))
    for (const auto& item : *auths)
      if (std::string key = plain_key(item.key()); covers(key, repository) && (best == nullptr || key.size() > best_key.size())) {
        best = &item.value();
        best_key = std::move(key);
      }
  std::string_view helper = json::get_string(root, {"credHelpers", reference.domain}, json::get_string(root, {"credsStore"}));
  // Where a helper keeps them the entry is there, and empty.
  if (!helper.empty() && (best == nullptr ? json::find(root, {"credHelpers", reference.domain}) != nullptr : best->is_object() && best->get_object().empty()))
    return fail(Code::kUnimplemented, cat("credentials of ", reference.domain, " are kept by docker-credential-", helper, ", which is not run; give --creds"));
  if (best == nullptr) return RegistryAuth{};
  return read_auth(*best, best_key);
}

Result<RegistryAuth> find_kept_login(const Reference& reference, const std::string& auth_file) {
  std::vector<std::string> paths;
  auto add = [&paths](const char* variable, const char* below) {
    if (const char* at = std::getenv(variable); at != nullptr && *at != 0) paths.push_back(cat(at, below));
  };
  if (!auth_file.empty()) paths.push_back(auth_file);
  else {
    add("REGISTRY_AUTH_FILE", "");
    add("DOCKER_CONFIG", "/config.json");
    add("XDG_RUNTIME_DIR", "/containers/auth.json");
    add("HOME", "/.docker/config.json");
  }
  for (const std::string& path : paths) {
    if (auth_file.empty() && ::access(path.c_str(), F_OK) != 0) continue;
    TRY_ASSIGN(std::string text, sys::read_host_file(path, 16U << 20));
    auto auth = find_docker_auth(text, reference);
    if (!auth) return fail(std::move(auth).error().with(path));
    if (!auth->username.empty() || !auth->token.empty()) return auth;
  }
  return RegistryAuth{};
}

}  // namespace monopod::image
