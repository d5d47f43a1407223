// ConfigMaps, Secrets and disruption budgets.
#include "api/kinds/behaviors.h"
#include "base/bytes.h"

namespace monopod::api::kinds {
namespace {

constexpr std::size_t kDataBytesMax = 1U << 20;

std::size_t data_size(const Value& object, std::string_view member, bool base64) {
  std::size_t n = 0;
  const Value* data = child(object, member);
  if (data == nullptr || !data->is_object()) return 0;
  for (auto& m : data->get_object()) {
    if (!m.value().is_string()) continue;
    n += base64 ? m.value().get_string().size() / 4 * 3 : m.value().get_string().size();
  }
  return n;
}

void check_keys(const Value& object, std::string_view member, FieldErrors& errors) {
  const Value* data = child(object, member);
  if (data == nullptr || !data->is_object()) return;
  for (auto& m : data->get_object()) report(errors, Path(std::string(member)).key(m.key()), m.key(), check_config_map_key(m.key()));
}

}  // namespace

void default_secret(Value& object) {
  // stringData is a convenience of writers: it never comes back.
  const Value* plain = child(object, "stringData");
  if (plain == nullptr || !plain->is_object()) return;
  Object& root = object.get_object();
  Object given = plain->get_object();
  Value& data = root["data"];
  if (!data.is_object()) data.emplace_object();
  for (auto& m : given)
    if (m.value().is_string()) data.get_object()[m.key()] = format_base64(m.value().get_string());
  root.erase("stringData");
}

void validate_config_map(const Value& object, FieldErrors& errors) {
  check_keys(object, "data", errors);
  check_keys(object, "binaryData", errors);
  const Value *data = child(object, "data"), *binary = child(object, "binaryData");
  if (data != nullptr && binary != nullptr && data->is_object() && binary->is_object())
    for (auto& m : binary->get_object())
      if (data->get_object().contains(m.key())) errors.invalid(Path("data").key(m.key()), m.key(), "duplicate of key present in data");
  if (data_size(object, "data", false) + data_size(object, "binaryData", true) > kDataBytesMax) errors.too_long(Path(), kDataBytesMax);
}

void validate_config_update(const Value& object, const Value& old, std::string_view, FieldErrors& errors) {
  if (text(object, "type") != text(old, "type")) errors.invalid(Path("type"), text(object, "type"), "field is immutable");
  if (!json::get_bool(old, {"immutable"})) return;
  if (!json::get_bool(object, {"immutable"})) errors.forbidden(Path("immutable"), "field is immutable when `immutable` is set");
  for (std::string_view member : {"data", "binaryData"}) {
    const Value *a = child(object, member), *b = child(old, member);
    bool equal = a == nullptr || b == nullptr ? a == b : *a == *b;
    if (!equal) errors.forbidden(Path(std::string(member)), "field is immutable when `immutable` is set");
  }
}

void validate_secret(const Value& object, FieldErrors& errors) {
  check_keys(object, "data", errors);
  if (data_size(object, "data", true) > kDataBytesMax) errors.too_long(Path("data"), kDataBytesMax);
  std::string_view type = text(object, "type");
  Path data("data");
  auto has = [&](std::string_view key) { return json::find(object, {"data", key}) != nullptr; };
  auto need = [&](std::string_view key) {
    if (!has(key)) errors.required(data.key(key));
  };
  if (type == "kubernetes.io/service-account-token") {
    if (json::get_string(object, {"metadata", "annotations", "kubernetes.io/service-account.name"}).empty())
      errors.required(Path("metadata")["annotations"].key("kubernetes.io/service-account.name"));
  } else if (type == "kubernetes.io/dockercfg") {
    need(".dockercfg");
  } else if (type == "kubernetes.io/dockerconfigjson") {
    need(".dockerconfigjson");
    auto raw = parse_base64(json::get_string(object, {"data", ".dockerconfigjson"}));
    if (has(".dockerconfigjson") && (!raw || !json::parse(*raw))) errors.invalid(data.key(".dockerconfigjson"), "<secret contents redacted>", "invalid character in secret data");
  } else if (type == "kubernetes.io/basic-auth") {
    if (!has("username") && !has("password")) {
      errors.required(data.key("username"));
      errors.required(data.key("password"));
    }
  } else if (type == "kubernetes.io/ssh-auth") {
    if (json::get_string(object, {"data", "ssh-privatekey"}).empty()) errors.required(data.key("ssh-privatekey"));
  } else if (type == "kubernetes.io/tls") {
    need("tls.crt");
    need("tls.key");
  }
}

std::vector<std::string_view> secret_fields() { return {"type"}; }


}  // namespace monopod::api::kinds
