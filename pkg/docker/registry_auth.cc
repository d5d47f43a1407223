#include "docker/registry_auth.h"

#include "base/bytes.h"
#include "base/strings.h"
#include "codec/json.h"
#include "docker/limits.h"

namespace monopod::docker {

Result<image::RegistryAuth> parse_registry_auth(std::string_view header) {
  image::RegistryAuth out;
  if (header.empty()) return out;
  if (header.size() > kAuthBytesMax) return fail(Code::kInvalidArgument, "X-Registry-Auth: too long");
  auto text = parse_base64url(header);
  if (!text) text = parse_base64(header);
  if (!text) return fail(Code::kInvalidArgument, "X-Registry-Auth: must be base64url");
  auto value = json::parse(*text);
  if (!value || !(value->is_object() || value->is_null())) return fail(Code::kInvalidArgument, "X-Registry-Auth: must be a JSON object");
  out.username = json::get_string(*value, {"username"});
  out.password = json::get_string(*value, {"password"});
  out.token = json::get_string(*value, {"registrytoken"});
  if (std::string_view packed = json::get_string(*value, {"auth"}); out.username.empty() && !packed.empty()) {
    auto plain = parse_base64(packed);
    if (!plain) return fail(Code::kInvalidArgument, "X-Registry-Auth: auth must be base64");
    auto [user, password] = split_once(*plain, ':');
    out.username = user;
    out.password = password.value_or("");
  }
  return out;
}

async::Task<Result<>> check_login(Parts& parts, std::string address, image::RegistryAuth auth) {
  if (auth.username.empty() || auth.password.empty()) co_return fail(Code::kInvalidArgument, "username and password are needed");
  for (std::string_view scheme : {"https://", "http://"})
    if (address.starts_with(scheme)) address.erase(0, scheme.size());
  address = std::string(split_once(address, '/').first);
  if (address.empty() || address == "index.docker.io") address = "docker.io";
  co_return co_await parts.images.check_login(address, auth.username, auth.password);
}

}  // namespace monopod::docker
