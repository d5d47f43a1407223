#include <sys/statvfs.h>

#include "base/bytes.h"
#include "base/strings.h"
#include "cri/messages.h"
#include "cri/describe.h"
#include "cri/service.h"
#include "image/reference.h"

namespace monopod::cri {
namespace {

Result<std::string> image_of(const json::Value& root) {
  std::string_view name = json::get_string(root, {"image", "image"});
  if (name.empty()) return fail(Code::kInvalidArgument, "image is missing");
  return std::string(name);
}

// AuthConfig: a name and password, both in auth as base64 of "name:password", or a token.
Result<image::PullOptions> pull_options(const json::Value& auth) {
  image::PullOptions out;
  out.username = json::get_string(auth, {"username"});
  out.password = json::get_string(auth, {"password"});
  out.token = json::get_string(auth, {"registry_token"});
  if (std::string_view packed = json::get_string(auth, {"auth"}); out.username.empty() && !packed.empty()) {
    auto plain = parse_base64(packed);
    if (!plain) return fail(Code::kInvalidArgument, "auth: want base64");
    while (plain->ends_with('\0')) plain->pop_back();  // as docker's own files have it at times
    auto [user, password] = split_once(*plain, ':');
    if (!password) return fail(Code::kInvalidArgument, "auth: want base64 of name:password");
    out.username = user;
    out.password = *password;
  }
  if (out.username.empty() && out.token.empty() && !json::get_string(auth, {"identity_token"}).empty())
    return fail(Code::kUnimplemented, "auth: identity tokens are not supported; give username and password, or registry_token");
  return out;
}

}  // namespace

Service::Now Service::list_images(const json::Value& request) {
  json::Array out;
  std::string_view wanted = json::get_string(request, {"filter", "image", "image"});
  if (!wanted.empty()) {
    if (auto image = p_.parts.images.find(wanted)) out.push_back(describe_image(*image));
  } else {
    for (const image::Image& image : p_.parts.images.list()) out.push_back(describe_image(image));
  }
  return json::Object{{"images", std::move(out)}};
}

// One that is not there is no error: the answer has none.
Service::Later Service::image_status(const json::Value& request) {
  CO_TRY_ASSIGN(std::string name, image_of(request));
  std::optional<image::Image> image = p_.parts.images.find(name);
  if (!image) co_return json::Object{};
  json::Object out{{"image", describe_image(*image)}};
  if (json::get_bool(request, {"verbose"})) {
    json::Object info{{"chainID", image->manifest_digest}};
    if (auto config = co_await p_.parts.images.read_blob(image->id))
      if (auto tree = json::parse(*config)) info["imageSpec"] = std::move(*tree);
    out["info"] = json::Object{{"info", json::format(info)}};
  }
  co_return out;
}

Service::Later Service::pull_image(const json::Value& request) {
  CO_TRY_ASSIGN(std::string name, image_of(request));
  if (std::string_view handler = json::get_string(request, {"image", "runtime_handler"}); !handler.empty()) co_return refuse(Code::kInvalidArgument, {"no runtime for \"", handler, "\" is configured"});
  CO_TRY_ASSIGN(image::PullOptions options, pull_options(member_of(request, {"auth"})));
  CO_TRY_ASSIGN(image::ImportedImage pulled, co_await p_.parts.images.pull(name, std::move(options)));
  co_return json::Object{{"image_ref", pulled.id}};
}

// With all of its names.
Service::Later Service::remove_image(const json::Value& request) {
  CO_TRY_ASSIGN(std::string name, image_of(request));
  std::optional<image::Image> image = p_.parts.images.find(name);
  if (!image) co_return json::Object{};
  auto removed = co_await p_.parts.images.remove(image->id);
  if (!removed && removed.error().code() != Code::kNotFound) co_return fail(std::move(removed).error());
  co_return json::Object{};
}

Service::Later Service::image_fs_info(const json::Value&) {
  CO_TRY_ASSIGN(image::Usage usage, co_await p_.parts.images.usage());
  const std::string& path = p_.data_dir;
  struct ::statvfs fs {};  // of numbers in memory: does not block
  std::uint64_t inodes = ::statvfs(path.c_str(), &fs) == 0 ? fs.f_files - fs.f_ffree : 0;
  json::Object one{{"timestamp", nanos(p_.parts.time.wall())}, {"fs_id", json::Object{{"mountpoint", path}}}, {"used_bytes", json::Object{{"value", usage.layer_bytes + usage.blob_bytes}}},
                   {"inodes_used", json::Object{{"value", inodes}}}};
  co_return json::Object{{"image_filesystems", json::Array{one}}, {"container_filesystems", json::Array{one}}};
}

}  // namespace monopod::cri
