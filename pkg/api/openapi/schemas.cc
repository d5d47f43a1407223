#include "api/openapi/schemas.h"

#include <vector>

#include "api/crd/openapi.h"
#include "api/openapi/texts.h"
#include "base/strings.h"

namespace monopod::api::openapi {
namespace {

constexpr std::string_view kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.";
constexpr std::string_view kApiextensions = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.";

json::Object reference(std::string_view name) { return {{"$ref", cat("#/components/schemas/", name)}}; }

// The schema of a special kind has a name of its own, as upstream's; empty for the rest.
std::string special_name(const Field& field) {
  switch (field.kind()) {
    case FieldKind::kQuantity: return "io.k8s.apimachinery.pkg.api.resource.Quantity";
    case FieldKind::kTime: return cat(kMeta, "Time");
    case FieldKind::kMicroTime: return cat(kMeta, "MicroTime");
    case FieldKind::kIntOrString: return "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
    case FieldKind::kRawObject: return "io.k8s.apimachinery.pkg.runtime.RawExtension";
    case FieldKind::kFieldsV1: return cat(kMeta, "FieldsV1");
    case FieldKind::kAny: return cat(kApiextensions, "JSON");
    case FieldKind::kSchemaOrArray: return cat(kApiextensions, "JSONSchemaPropsOrArray");
    case FieldKind::kSchemaOrBool: return cat(kApiextensions, "JSONSchemaPropsOrBool");
    case FieldKind::kSchemaOrStringArray: return cat(kApiextensions, "JSONSchemaPropsOrStringArray");
    default: return {};
  }
}

json::Object special_schema(FieldKind kind) {
  switch (kind) {
    case FieldKind::kQuantity: return {{"oneOf", json::Array{json::Object{{"type", "string"}}, json::Object{{"type", "number"}}}}};
    case FieldKind::kTime:
    case FieldKind::kMicroTime: return {{"type", "string"}, {"format", "date-time"}};
    case FieldKind::kIntOrString: return {{"format", "int-or-string"}, {"oneOf", json::Array{json::Object{{"type", "integer"}}, json::Object{{"type", "string"}}}}};
    case FieldKind::kRawObject:
    case FieldKind::kFieldsV1: return {{"type", "object"}};
    default: return {};
  }
}

class Schemas {
 public:
  void add(const Type* type) { pending_.push_back(type); }

  json::Object release() {
    while (!pending_.empty()) {
      const Type* type = pending_.back();
      pending_.pop_back();
      if (out_.contains(type->name())) continue;
      out_[type->name()] = nullptr;  // the place, while its own references are followed
      json::Object made = schema(*type);
      out_[type->name()] = std::move(made);
    }
    return std::move(out_);
  }

 private:
  json::Object schema(const Type& type) {
    if (const crd::CustomType* custom = type.custom()) {
      add(type.find("metadata")->type());
      return crd::make_openapi_schema(*custom->row);
    }
    json::Object properties;
    json::Array required;
    for (const Field& field : type.fields()) {
      json::Object made = property(field);
      describe(made, type, field);
      properties[field.name()] = std::move(made);
      if (field.required()) required.push_back(json::Value(field.name()));
    }
    json::Object out{{"type", "object"}};
    if (std::string_view text = texts_.of(type); !text.empty()) out["description"] = text;
    if (!properties.empty()) out["properties"] = std::move(properties);
    if (!required.empty()) out["required"] = std::move(required);
    if (type.atomic()) out["x-kubernetes-map-type"] = "atomic";
    if (json::Array kinds = kinds_of(type); !kinds.empty()) out["x-kubernetes-group-version-kind"] = std::move(kinds);
    return out;
  }

  static json::Array kinds_of(const Type& type) {
    json::Array out;
    auto add = [&](std::string_view group, std::string_view version, std::string_view kind) { out.push_back(json::Object{{"group", group}, {"version", version}, {"kind", kind}}); };
    std::string_view kind = type.name().substr(type.name().rfind('.') + 1);
    if (type.find("kind") == nullptr || type.find("apiVersion") == nullptr) return out;
    // DeleteOptions belongs to every group that is served.
    if (kind == "DeleteOptions") {
      std::string_view last;
      for (const Resource& r : resources()) {
        if (r.group_version() != last) add(r.group(), r.version(), kind);
        last = r.group_version();
      }
      return out;
    }
    for (const Resource& r : resources()) {
      if (&r.type() == &type) add(r.group(), r.version(), r.kind());
      else if (r.list_type() == &type) add(r.group(), r.version(), kind);
    }
    if (!out.empty()) return out;
    for (const Resource& r : resources()) {
      for (const Subresource& s : r.subresources())
        if (out.empty() && !s.kind().empty() && find_type(s.group(), s.version(), s.kind()) == &type) add(s.group(), s.version(), s.kind());
    }
    if (out.empty() && type.name().starts_with(kMeta)) add("", "v1", kind);
    return out;
  }

  json::Object element(const Field& field) {
    if (std::string name = special_name(field); !name.empty()) {
      if (field.type() != nullptr) add(field.type());
      if (!out_.contains(name)) out_[name] = special_schema(field.kind());
      return reference(name);
    }
    switch (field.kind()) {
      case FieldKind::kObject: add(field.type()); return reference(field.type()->name());
      case FieldKind::kBytes: return {{"type", "string"}, {"format", "byte"}};
      case FieldKind::kInt32: return {{"type", "integer"}, {"format", "int32"}};
      case FieldKind::kInt64: return {{"type", "integer"}, {"format", "int64"}};
      case FieldKind::kDouble: return {{"type", "number"}, {"format", "double"}};
      case FieldKind::kBool: return {{"type", "boolean"}};
      case FieldKind::kStringList: return {{"type", "array"}, {"items", json::Object{{"type", "string"}, {"default", ""}}}};
      default: return {{"type", "string"}};
    }
  }

  json::Object property(const Field& field) {
    json::Object inner = element(field), out;
    // A reference with siblings must be wrapped.
    bool bare = !inner.contains("$ref");
    switch (field.shape()) {
      case Shape::kSingle:
        if (bare) out = std::move(inner);
        else out["allOf"] = json::Array{std::move(inner)};
        break;
      case Shape::kList:
        out["type"] = "array";
        out["items"] = bare ? std::move(inner) : json::Object{{"allOf", json::Array{std::move(inner)}}, {"default", json::Object()}};
        break;
      case Shape::kMap:
        out["type"] = "object";
        out["additionalProperties"] = bare ? std::move(inner) : json::Object{{"allOf", json::Array{std::move(inner)}}};
        break;
    }
    switch (field.list_type()) {
      case ListType::kAtomic: out["x-kubernetes-list-type"] = "atomic"; break;
      case ListType::kSet: out["x-kubernetes-list-type"] = "set"; break;
      case ListType::kMap: {
        out["x-kubernetes-list-type"] = "map";
        json::Array keys;
        for (std::size_t i = 0; i < field.list_key_count(); ++i) keys.push_back(json::Value(field.list_key(i)));
        out["x-kubernetes-list-map-keys"] = std::move(keys);
        break;
      }
      case ListType::kNone: break;
    }
    if (field.atomic_map()) out["x-kubernetes-map-type"] = "atomic";
    if (field.patch_merge() || field.patch_retain_keys())
      out["x-kubernetes-patch-strategy"] = field.patch_merge() && field.patch_retain_keys() ? "merge,retainKeys" : field.patch_merge() ? "merge" : "retainKeys";
    if (!field.merge_key().empty()) out["x-kubernetes-patch-merge-key"] = field.merge_key();
    // Key fields of list maps need their default for kubectl's own merging.
    if (field.name() == "protocol" && field.default_value() == "\"TCP\"") out["default"] = "TCP";
    return out;
  }

  void describe(json::Object& property, const Type& type, const Field& field) {
    const Texts::Text* text = texts_.of(type, field.name());
    if (text == nullptr) return;
    property["description"] = text->text;
    if (text->values.empty() || field.kind() != FieldKind::kString || field.shape() != Shape::kSingle) return;
    json::Array values;
    for (std::string_view value : text->values) values.push_back(json::Value(value));
    property["enum"] = std::move(values);
  }

  Texts texts_;
  json::Object out_;
  std::vector<const Type*> pending_;
};

}  // namespace

json::Object make_schemas(const std::set<const Type*>& roots) {
  Schemas schemas;
  for (const Type* type : roots) schemas.add(type);
  return schemas.release();
}

}  // namespace monopod::api::openapi
