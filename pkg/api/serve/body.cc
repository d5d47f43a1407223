#include "api/serve/body.h"

#include "api/limits.h"
#include "api/protobuf/protobuf.h"
#include "base/strings.h"
#include "codec/yaml.h"

namespace monopod::api {
namespace {

Status cannot_handle(const BodyTarget& target, std::string_view kind, std::string_view why) {
  if (why.find("cannot be handled as a") != std::string_view::npos) return bad_request(std::string(why));  // said so already
  GroupVersion version = split_group_version(target.group_version);
  return bad_request(cat(kind.empty() ? std::string_view(target.kind) : kind, " in version \"", version.version, "\" cannot be handled as a ",
                         target.kind, ": ", why));
}

Outcome<void> check_type(const BodyTarget& target, std::string_view api_version, std::string_view kind) {
  if (!kind.empty() && kind != target.kind)
    return refuse(cannot_handle(target, kind, cat("no kind \"", kind, "\" is expected here, want \"", target.kind, "\"")));
  bool options = target.kind == "DeleteOptions";  // any served group may be named
  if (!api_version.empty() && api_version != target.group_version && !options)
    return refuse(bad_request(cat("the API version in the data (", api_version, ") does not match the expected API version (", target.group_version, ")")));
  return {};
}

}  // namespace

Outcome<json::Value> decode_body_now(const std::string& body, Encoding encoding, const BodyTarget& target, FieldValidation validation,
                                     std::vector<std::string>& warnings) {
  DecodeTarget decode{target.type, target.group_version, target.kind};
  if (encoding == Encoding::kProtobuf) {
    auto meta = peek_protobuf_type(body);
    if (!meta) return refuse(bad_request(meta.error().message()));
    OUT(check_type(target, meta->api_version, meta->kind));
    auto tree = decode_protobuf(body, decode);
    if (!tree) return refuse(cannot_handle(target, meta->kind, tree.error().message()));
    return std::move(*tree);
  }
  Result<Decoded> decoded = fail(Code::kInternal, "");
  if (encoding == Encoding::kYaml) {
    std::vector<std::string> twice;
    auto tree = yaml::parse_noting_twice(body, twice);
    if (!twice.empty() && validation == FieldValidation::kStrict)
      return refuse(cannot_handle(target, {}, cat("strict decoding error: yaml: unmarshal errors:\n  ", join(twice, "\n  "))));
    if (validation == FieldValidation::kWarn) warnings.insert(warnings.end(), twice.begin(), twice.end());
    if (!tree) return refuse(bad_request(cat("error converting YAML to JSON: ", tree.error().message())));
    OUT(check_type(target, json::get_string(*tree, {"apiVersion"}), json::get_string(*tree, {"kind"})));
    decoded = decode_tree(std::move(*tree), decode, validation);
  } else {
    auto meta = peek_type(body);
    if (!meta) return refuse(cannot_handle(target, {}, meta.error().message()));
    OUT(check_type(target, meta->api_version, meta->kind));
    decoded = decode_json(body, decode, validation);
  }
  if (!decoded) return refuse(cannot_handle(target, {}, decoded.error().message()));
  for (std::string& warning : decoded->warnings) warnings.push_back(std::move(warning));
  return std::move(decoded->object);
}

async::Task<Outcome<json::Value>> decode_body(async::Pool& pool, std::string body, Encoding encoding, BodyTarget target,
                                              FieldValidation validation, std::vector<std::string>& warnings) {
  if (body.size() <= kBodyOnLoopBytesMax) co_return decode_body_now(body, encoding, target, validation, warnings);
  std::vector<std::string> found;
  auto work = [&] { return decode_body_now(body, encoding, target, validation, found); };
  Outcome<json::Value> out = co_await pool.run(work);
  for (std::string& warning : found) warnings.push_back(std::move(warning));
  co_return out;
}

}  // namespace monopod::api
