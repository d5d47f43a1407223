#include "api/crd/openapi.h"

#include "base/strings.h"

namespace monopod::api::crd {
namespace {

constexpr std::string_view kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.";

json::Object wrapped_reference(std::string_view name) { return {{"allOf", json::Array{json::Object{{"$ref", cat("#/components/schemas/", name)}}}}}; }

json::Array kind_of(const CustomResource& resource, std::string_view kind) {
  return {json::Object{{"group", resource.names->group}, {"version", resource.version_name}, {"kind", kind}}};
}

}  // namespace

std::string openapi_list_name(const CustomResource& resource) {
  std::string_view name = resource.type_row.type_name;
  return cat(name.substr(0, name.size() - resource.names->kind.size()), resource.names->list_kind);
}

json::Object make_openapi_schema(const CustomResource& resource) {
  json::Object out{{"type", "object"}};
  auto definition = json::parse(*resource.kind_of->definition);
  if (const json::Array* versions = definition ? json::get_array(*definition,  {"spec", "versions"}) : nullptr)
    for (const json::Value& version : *versions)
      if (json::get_string(version, {"name"}) == resource.version_name)
        if (const json::Object* schema = json::get_object(version, {"schema", "openAPIV3Schema"})) out = *schema;
  json::Value& properties = out["properties"];
  if (!properties.is_object()) properties.emplace_object();
  json::Object& members = properties.get_object();
  for (const char* name : {"apiVersion", "kind"})
    if (!members.contains(name)) members[name] = json::Object{{"type", "string"}};
  members["metadata"] = wrapped_reference(cat(kMeta, "ObjectMeta"));
  out["x-kubernetes-group-version-kind"] = kind_of(resource, resource.names->kind);
  return out;
}

json::Object make_openapi_list_schema(const CustomResource& resource) {
  return {{"type", "object"},
          {"required", json::Array{"items"}},
          {"properties", json::Object{{"apiVersion", json::Object{{"type", "string"}}},
                                      {"items", json::Object{{"type", "array"}, {"items", wrapped_reference(resource.type_row.type_name)}}},
                                      {"kind", json::Object{{"type", "string"}}},
                                      {"metadata", wrapped_reference(cat(kMeta, "ListMeta"))}}},
          {"x-kubernetes-group-version-kind", kind_of(resource, resource.names->list_kind)}};
}

}  // namespace monopod::api::crd
