#include "api/openapi/v2.h"

#include "base/strings.h"

namespace monopod::api::openapi {
namespace {

std::string_view last_of(std::string_view reference) { return reference.substr(reference.rfind('/') + 1); }

json::Object definition(std::string_view reference) { return {{"$ref", cat("#/definitions/", last_of(reference))}}; }

json::Value convert_schema(const json::Value& schema);

json::Object convert_properties(const json::Object& properties) {
  json::Object out;
  for (const auto& member : properties) out[member.key()] = convert_schema(member.value());
  return out;
}

void convert_reference(const json::Array& all, json::Object& out) {
  std::string_view reference = all.size() == 1 ? json::get_string(all[0], {"$ref"}) : std::string_view();
  if (!reference.empty()) out["$ref"] = definition(reference)["$ref"];
}

// v3 wraps a reference that has siblings into allOf; v2 has it beside them. A choice of types (oneOf) is a string in v2, and its format says more.
json::Value convert_schema(const json::Value& schema) {
  json::Object out;
  if (!schema.is_object()) return out;
  // v2 cannot say it: anything goes (as upstream shows such fields).
  if (json::get_bool(schema, {"x-kubernetes-preserve-unknown-fields"}) || json::get_bool(schema, {"x-kubernetes-int-or-string"})) {
    if (const json::Value* text = json::find(schema, {"description"})) out["description"] = *text;
    out["x-kubernetes-preserve-unknown-fields"] = true;
    return out;
  }
  for (const auto& member : schema.get_object()) {
    std::string_view key = member.key();
    const json::Value& value = member.value();
    if (key == "default" || key == "nullable" || key == "anyOf" || key == "not" || key == "example" || key == "externalDocs") continue;
    if (key == "$ref") out["$ref"] = definition(value.as_string())["$ref"];
    else if (key == "allOf") convert_reference(value.as_array(), out);
    else if (key == "oneOf" && schema.get_object().contains("type")) continue;  // of a custom kind: alternatives of values
    else if (key == "oneOf") out["type"] = "string";
    else if (key == "properties") out[key] = convert_properties(value.as_object());
    else if (key == "items" || key == "additionalProperties") out[key] = convert_schema(value);
    else out[key] = value;
  }
  return out;
}

// What a reference of the v3 document stands for, or the value itself.
const json::Value& resolve(const json::Value& value, const json::Value& document, std::string_view kind) {
  std::string_view reference = json::get_string(value, {"$ref"});
  const json::Value* found = reference.empty() ? nullptr : json::find(document, {"components", kind, last_of(reference)});
  return found == nullptr ? value : *found;
}

json::Array convert_parameters(const json::Value& holder, const json::Value& document) {
  json::Array out;
  const json::Array* parameters = json::get_array(holder, {"parameters"});
  if (parameters == nullptr) return out;
  for (const json::Value& one : *parameters) {
    const json::Value& parameter = resolve(one, document, "parameters");
    json::Object converted{{"uniqueItems", true}, {"type", json::get_string(parameter, {"schema", "type"})}, {"name", json::get_string(parameter, {"name"})}, {"in", json::get_string(parameter, {"in"})}};
    if (json::get_bool(parameter, {"required"})) converted["required"] = true;
    out.push_back(std::move(converted));
  }
  return out;
}

json::Object convert_operation(const json::Value& operation, const json::Value& document) {
  json::Object out;
  for (const auto& member : operation.as_object())
    if (std::string_view key = member.key(); key == "tags" || key == "operationId" || key.starts_with("x-")) out[key] = member.value();
  json::Array parameters = convert_parameters(operation, document);
  json::Array consumes{"*/*"};
  if (const json::Value* body = json::find(operation, {"requestBody"})) {
    const json::Value& found = resolve(*body, document, "requestBodies");
    const json::Object* content = json::get_object(found, {"content"});
    const json::Value* schema = content == nullptr || content->empty() ? nullptr : json::find(content->begin()->value(), {"schema"});
    if (content != nullptr && !content->contains("application/json")) {  // patches
      consumes.clear();
      for (const auto& member : *content) consumes.push_back(json::Value(member.key()));
    }
    json::Object parameter{{"name", "body"}, {"in", "body"}, {"schema", schema == nullptr ? json::Value(json::Object()) : convert_schema(*schema)}};
    if (json::get_bool(found, {"required"})) parameter["required"] = true;
    parameters.insert(parameters.begin(), std::move(parameter));
  }
  json::Object ok{{"description", "OK"}};
  if (const json::Value* response = json::find(operation, {"responses", "200"}))
    if (const json::Value* schema = json::find(resolve(*response, document, "responses"), {"content", "application/json", "schema"})) ok["schema"] = convert_schema(*schema);
  out["consumes"] = std::move(consumes);
  out["produces"] = json::Array{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"};
  out["schemes"] = json::Array{"https"};
  if (!parameters.empty()) out["parameters"] = std::move(parameters);
  out["responses"] = json::Object{{"200", std::move(ok)}, {"401", json::Object{{"description", "Unauthorized"}}}};
  return out;
}

json::Object convert_path(const json::Value& item, const json::Value& document) {
  json::Object out;
  for (const auto& member : item.as_object()) {
    if (member.key() != "parameters") out[member.key()] = convert_operation(member.value(), document);
    else if (json::Array parameters = convert_parameters(item, document); !parameters.empty()) out["parameters"] = std::move(parameters);
  }
  return out;
}

}  // namespace

json::Object make_v2(const std::vector<json::Value>& documents) {
  json::Object paths, definitions;
  for (const json::Value& document : documents) {
    if (const json::Object* items = json::get_object(document, {"paths"}))
      for (const auto& member : *items) paths[member.key()] = convert_path(member.value(), document);
    if (const json::Object* schemas = json::get_object(document, {"components", "schemas"}))
      for (const auto& member : *schemas)
        if (!definitions.contains(member.key())) definitions[member.key()] = convert_schema(member.value());
  }
  return {{"swagger", "2.0"},
          {"info", json::Object{{"title", "Kubernetes"}, {"version", "v1.35.0"}}},
          {"paths", std::move(paths)},
          {"definitions", std::move(definitions)},
          {"securityDefinitions", json::Object{{"BearerToken", json::Object{{"type", "apiKey"}, {"name", "authorization"}, {"in", "header"}}}}},
          {"security", json::Array{json::Object{{"BearerToken", json::Array()}}}}};
}

}  // namespace monopod::api::openapi
