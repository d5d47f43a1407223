// openapi.v2.Document of gnostic (openapiv2/OpenAPIv2.proto): maps are lists of {1: name, 2: value}; what has no field of its own
// (vendor extensions) is YAML text, which JSON is too.
#include "api/openapi/v2.h"
#include "api/protobuf/wire.h"
#include "base/strings.h"

namespace monopod::api::openapi {
namespace {

using wire::put_bytes;
using wire::put_number;

std::string_view text_of(const json::Value& value) { return value.is_string() ? std::string_view(value.get_string()) : std::string_view(); }

void put_text(std::string& out, std::uint32_t number, std::string_view text) {
  if (!text.empty()) put_bytes(out, number, text);
}

void put_texts(std::string& out, std::uint32_t number, const json::Value* list) {
  if (list == nullptr || !list->is_array()) return;
  for (const json::Value& one : list->get_array()) put_bytes(out, number, text_of(one));
}

std::string named(std::string_view name, std::string_view value) {
  std::string out;
  put_bytes(out, 1, name);
  put_bytes(out, 2, value);
  return out;
}

void put_extensions(std::string& out, std::uint32_t number, const json::Object& holder) {
  for (const auto& member : holder) {
    if (!std::string_view(member.key()).starts_with("x-")) continue;
    std::string any;
    put_bytes(any, 2, json::format(member.value()));
    put_bytes(out, number, named(member.key(), any));
  }
}

std::string encode_schema(const json::Object& schema) {
  std::string out;
  for (const auto& member : schema) {
    std::string_view key = member.key();
    const json::Value& value = member.value();
    std::string inner;
    if (key == "$ref") put_bytes(out, 1, text_of(value));
    else if (key == "format") put_bytes(out, 2, text_of(value));
    else if (key == "description") put_bytes(out, 4, text_of(value));
    else if (key == "required") put_texts(out, 19, &value);
    else if (key == "type") {
      put_bytes(inner, 1, text_of(value));
      put_bytes(out, 22, inner);
    } else if (key == "items" || key == "additionalProperties") {
      put_bytes(inner, 1, encode_schema(value.as_object()));
      put_bytes(out, key == "items" ? 23 : 21, inner);
    } else if (key == "properties") {
      for (const auto& property : value.as_object()) put_bytes(inner, 1, named(property.key(), encode_schema(property.value().as_object())));
      put_bytes(out, 25, inner);
    }
  }
  put_extensions(out, 31, schema);
  return out;
}

// ParametersItem { 1: Parameter { 1: BodyParameter | 2: NonBodyParameter { 3: query | 4: path } } }
std::string encode_parameter(const json::Value& parameter) {
  bool required = json::get_bool(parameter, {"required"});
  std::string_view name = json::get_string(parameter, {"name"}), in = json::get_string(parameter, {"in"});
  std::string own, choice, item;
  if (in == "body") {
    put_text(own, 2, name);
    put_text(own, 3, in);
    if (required) put_number(own, 4, 1);
    if (const json::Object* schema = json::get_object(parameter, {"schema"})) put_bytes(own, 5, encode_schema(*schema));
    put_bytes(choice, 1, own);
  } else {
    bool query = in == "query";
    if (required) put_number(own, 1, 1);
    put_text(own, 2, in);
    put_text(own, 4, name);
    put_text(own, query ? 6 : 5, json::get_string(parameter, {"type"}));
    if (json::get_bool(parameter, {"uniqueItems"})) put_number(own, query ? 20 : 19, 1);
    std::string sub;
    put_bytes(sub, query ? 3 : 4, own);
    put_bytes(choice, 2, sub);
  }
  put_bytes(item, 1, choice);
  return item;
}

void put_parameters(std::string& out, std::uint32_t number, const json::Value& holder) {
  if (const json::Array* parameters = json::get_array(holder, {"parameters"}))
    for (const json::Value& one : *parameters) put_bytes(out, number, encode_parameter(one));
}

std::string encode_operation(const json::Value& operation) {
  std::string out, responses;
  put_texts(out, 1, json::find(operation, {"tags"}));
  put_text(out, 5, json::get_string(operation, {"operationId"}));
  put_texts(out, 6, json::find(operation, {"produces"}));
  put_texts(out, 7, json::find(operation, {"consumes"}));
  put_parameters(out, 8, operation);
  if (const json::Object* codes = json::get_object(operation, {"responses"})) {
    for (const auto& member : *codes) {
      std::string response, value, item;
      put_text(response, 1, json::get_string(member.value(), {"description"}));
      if (const json::Object* schema = json::get_object(member.value(), {"schema"})) {
        put_bytes(item, 1, encode_schema(*schema));
        put_bytes(response, 2, item);
      }
      put_bytes(value, 1, response);
      put_bytes(responses, 1, named(member.key(), value));
    }
  }
  put_bytes(out, 9, responses);
  put_texts(out, 10, json::find(operation, {"schemes"}));
  put_extensions(out, 13, operation.as_object());
  return out;
}

std::string encode_path(const json::Value& item) {
  std::string out;
  for (auto [method, number] : {std::pair("get", 2U), std::pair("put", 3U), std::pair("post", 4U), std::pair("delete", 5U), std::pair("patch", 8U)})
    if (const json::Value* operation = json::find(item, {method})) put_bytes(out, number, encode_operation(*operation));
  put_parameters(out, 9, item);
  return out;
}

}  // namespace

std::string encode_v2(const json::Object& document) {
  std::string out, info, paths, definitions;
  put_bytes(out, 1, text_of(document.at("swagger")));
  put_text(info, 1, json::get_string(document.at("info"), {"title"}));
  put_text(info, 2, json::get_string(document.at("info"), {"version"}));
  put_bytes(out, 2, info);
  for (const auto& member : document.at("paths").as_object()) put_bytes(paths, 2, named(member.key(), encode_path(member.value())));
  put_bytes(out, 8, paths);
  for (const auto& member : document.at("definitions").as_object()) put_bytes(definitions, 1, named(member.key(), encode_schema(member.value().as_object())));
  put_bytes(out, 9, definitions);
  std::string required, token_list, schemes;  // security: [{BearerToken: []}]
  put_bytes(required, 1, named("BearerToken", token_list));
  put_bytes(out, 12, required);
  for (const auto& member : document.at("securityDefinitions").as_object()) {
    std::string key, item;
    put_text(key, 1, json::get_string(member.value(), {"type"}));
    put_text(key, 2, json::get_string(member.value(), {"name"}));
    put_text(key, 3, json::get_string(member.value(), {"in"}));
    put_bytes(item, 2, key);
    put_bytes(schemes, 1, named(member.key(), item));
  }
  put_bytes(out, 13, schemes);
  return out;
}

}  // namespace monopod::api::openapi
