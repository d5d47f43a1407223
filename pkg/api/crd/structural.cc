#include "api/crd/structural.h"

#include <algorithm>

#include "api/crd/schema.h"
#include "api/crd/settle.h"
#include "api/crd/validate.h"
#include "api/kinds/behaviors.h"
#include "base/strings.h"

namespace monopod::api::crd {
namespace {

using kinds::child;
using kinds::text;

bool flag(const json::Value& schema, const char* name) { return json::get_bool(schema, {name}); }
bool is_schema(const json::Value* v) { return v != nullptr && v->is_object(); }

// anyOf: [{type: integer}, {type: string}], the one place where types stand below a junction.
bool is_int_or_string(const json::Value* any_of) {
  if (any_of == nullptr || !any_of->is_array() || any_of->get_array().size() != 2) return false;
  auto only = [](const json::Value& v, std::string_view type) { return v.is_object() && v.get_object().size() == 1 && text(v, "type") == type; };
  return only(any_of->get_array()[0], "integer") && only(any_of->get_array()[1], "string");
}

enum class Level { kRoot, kItem, kField };

class Check {
 public:
  explicit Check(FieldErrors& errors) : errors_(errors) {}

  void structural(const json::Value& s, const Path& path, Level level) {
    std::string_view type = text(s, "type");
    common(s, path);
    extensions(s, path);
    types(s, type, path, level);
    lists(s, type, path);
    const json::Value* items = child(s, "items");
    if (type == "array" && items == nullptr) errors_.required(path["items"], "must be specified");
    if (is_schema(items)) structural(*items, path["items"], Level::kItem);
    if (const json::Object* properties = json::get_object(s, {"properties"}))
      for (auto& m : *properties) structural(m.value(), path["properties"].key(m.key()), Level::kField);
    if (const json::Value* additional = child(s, "additionalProperties")) {
      if (level == Level::kRoot) errors_.forbidden(path["additionalProperties"], "must not be used at the root");
      if (is_schema(additional)) structural(*additional, path["additionalProperties"], Level::kField);
    }
    bool first_all = false;
    if (const json::Array* all = json::get_array(s, {"allOf"}); all != nullptr && !all->empty()) first_all = is_int_or_string(child((*all)[0], "anyOf"));
    junctions(s, path, is_int_or_string(child(s, "anyOf")), first_all);
    complete(s, s, path, path);
    default_value(s, path, level);
  }

 private:
  // What holds in every place, below junctions too.
  void common(const json::Value& s, const Path& path) {
    for (const char* name : {"$ref", "id", "patternProperties", "definitions", "dependencies", "additionalItems"})
      if (child(s, name) != nullptr) errors_.forbidden(path[name], cat(name, " is not supported"));
    if (flag(s, "uniqueItems")) errors_.forbidden(path["uniqueItems"], "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
    if (text(s, "type") == "null") errors_.forbidden(path["type"], "type cannot be set to null, use nullable as an alternative");
    if (const json::Value* items = child(s, "items"); items != nullptr && items->is_array()) errors_.forbidden(path["items"], "items must be a schema object and not an array");
    const json::Object* properties = json::get_object(s, {"properties"});
    const json::Value* additional = child(s, "additionalProperties");
    if (additional != nullptr && properties != nullptr && !properties->empty()) {
      if (is_schema(additional) || !additional->get_bool()) errors_.forbidden(path["additionalProperties"], "additionalProperties and properties are mutual exclusive");
      else errors_.forbidden(path["additionalProperties"], "must not be used together with properties");
    } else if (additional != nullptr && additional->is_bool() && !additional->get_bool()) {
      errors_.forbidden(path["additionalProperties"], "additionalProperties cannot be set to false");
    }
    if (std::string_view pattern = text(s, "pattern"); !pattern.empty())
      if (auto compiled = Pattern::compile(pattern); !compiled) errors_.invalid(path["pattern"], pattern, cat("must be a valid regular expression, but isn't: ", compiled.error().message()));
    if (const json::Array* rules = json::get_array(s, {"x-kubernetes-validations"}); rules != nullptr && !rules->empty())
      errors_.forbidden(path["x-kubernetes-validations"], "validation rules (CEL) are not supported by this server: an object that breaks them would be taken");
    if (const json::Value* multiple = child(s, "multipleOf"); multiple != nullptr && multiple->is_number() && multiple->to_number<double>() <= 0)
      errors_.invalid(path["multipleOf"], *multiple, "must be greater than 0");
  }

  void extensions(const json::Value& s, const Path& path) {
    bool either = flag(s, "x-kubernetes-int-or-string");
    if (const json::Value* keep = child(s, "x-kubernetes-preserve-unknown-fields"); keep != nullptr && keep->is_bool() && !keep->get_bool())
      errors_.invalid(path["x-kubernetes-preserve-unknown-fields"], *keep, "must be true or undefined");
    if (either && flag(s, "x-kubernetes-preserve-unknown-fields"))
      errors_.invalid(path["x-kubernetes-preserve-unknown-fields"], json::Value(true), "must be false if x-kubernetes-int-or-string is true");
    if (either && flag(s, "x-kubernetes-embedded-resource"))
      errors_.invalid(path["x-kubernetes-embedded-resource"], json::Value(true), "must be false if x-kubernetes-int-or-string is true");
    if (either && !text(s, "type").empty()) errors_.forbidden(path["type"], "must be empty if x-kubernetes-int-or-string is true");
  }

  void types(const json::Value& s, std::string_view type, const Path& path, Level level) {
    bool embedded = flag(s, "x-kubernetes-embedded-resource"), keeps = flag(s, "x-kubernetes-preserve-unknown-fields");
    const json::Object* properties = json::get_object(s, {"properties"});
    if (embedded && type != "object") {
      if (type.empty()) errors_.required(path["type"], "must be object if x-kubernetes-embedded-resource is true");
      else errors_.invalid(path["type"], type, "must be object if x-kubernetes-embedded-resource is true");
    } else if (type.empty() && !flag(s, "x-kubernetes-int-or-string") && !keeps) {
      errors_.required(path["type"], level == Level::kRoot   ? "must not be empty at the root"
                                     : level == Level::kItem ? "must not be empty for specified array items"
                                                             : "must not be empty for specified object fields");
    }
    if (!type.empty() && type != "null" && parse_type(type) == SchemaType::kAny)
      errors_.not_supported(path["type"], json::Value(type), {"array", "boolean", "integer", "number", "object", "string"});
    if (level == Level::kRoot && !type.empty() && type != "object") errors_.invalid(path["type"], type, "must be object at the root");
    if (level == Level::kRoot && flag(s, "nullable")) errors_.forbidden(path["nullable"], "nullable cannot be true at the root");
    if (embedded && child(s, "additionalProperties") != nullptr) errors_.forbidden(path["additionalProperties"], "must not be used if x-kubernetes-embedded-resource is set");
    if (embedded && !keeps && (properties == nullptr || properties->empty()))
      errors_.required(path["properties"], "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields");
    if (properties == nullptr || (level != Level::kRoot && !embedded)) return;
    for (const char* name : {"kind", "apiVersion"})
      if (const json::Value* v = properties->if_contains(name); v != nullptr && text(*v, "type") != "string")
        errors_.invalid(path["properties"].key(name)["type"], text(*v, "type"), "must be string");
    if (const json::Value* meta = properties->if_contains("metadata")) metadata(*meta, path["properties"].key("metadata"), level);
  }

  void metadata(const json::Value& meta, const Path& path, Level level) {
    if (text(meta, "type") != "object") errors_.invalid(path["type"], text(meta, "type"), "must be object");
    if (level != Level::kRoot) return;
    bool more = false;
    for (auto& m : meta.get_object()) {
      std::string_view key = m.key();
      if (key == "properties" && m.value().is_object()) {
        for (auto& p : m.value().get_object()) more |= p.key() != "name" && p.key() != "generateName";
      } else {
        more |= key != "type" && key != "description";
      }
    }
    if (more) errors_.forbidden(path, "must not specify anything other than name and generateName, but metadata is implicitly specified");
  }

  void lists(const json::Value& s, std::string_view type, const Path& path) {
    std::string_view list = text(s, "x-kubernetes-list-type"), map = text(s, "x-kubernetes-map-type");
    auto must_be = [&](std::string_view wanted, std::string_view because) {
      if (type.empty()) errors_.required(path["type"], cat("must be ", wanted, " if ", because, " is specified"));
      else if (type != wanted) errors_.invalid(path["type"], type, cat("must be ", wanted, " if ", because, " is specified"));
    };
    if (!list.empty()) {
      must_be("array", "x-kubernetes-list-type");
      if (list != "atomic" && list != "set" && list != "map") errors_.not_supported(path["x-kubernetes-list-type"], json::Value(list), {"atomic", "map", "set"});
    }
    if (!map.empty()) {
      must_be("object", "x-kubernetes-map-type");
      if (map != "atomic" && map != "granular") errors_.not_supported(path["x-kubernetes-map-type"], json::Value(map), {"atomic", "granular"});
    }
    const json::Array* keys = json::get_array(s, {"x-kubernetes-list-map-keys"});
    bool has_keys = keys != nullptr && !keys->empty();
    if (has_keys && list.empty()) errors_.required(path["x-kubernetes-list-type"], "must be map if x-kubernetes-list-map-keys is non-empty");
    else if (has_keys && list != "map") errors_.invalid(path["x-kubernetes-list-type"], list, "must be map if x-kubernetes-list-map-keys is non-empty");
    if (list == "set") set_items(s, path);
    if (list != "map") return;
    if (!has_keys) errors_.required(path["x-kubernetes-list-map-keys"], "must not be empty if x-kubernetes-list-type is map");
    const json::Value* items = child(s, "items");
    if (!is_schema(items)) {
      errors_.required(path["items"], "must have a schema if x-kubernetes-list-type is map");
      return;
    }
    if (text(*items, "type") != "object") errors_.invalid(path["items"]["type"], text(*items, "type"), "must be object if parent array's x-kubernetes-list-type is map");
    if (has_keys) map_keys(*keys, *items, path);
  }

  void set_items(const json::Value& s, const Path& path) {
    const json::Value* items = child(s, "items");
    if (!is_schema(items)) return;
    std::string_view type = text(*items, "type");
    if (flag(*items, "nullable")) errors_.forbidden(path["items"]["nullable"], "cannot be nullable when x-kubernetes-list-type is \"set\"");
    if (type == "object" && text(*items, "x-kubernetes-map-type") != "atomic")
      errors_.invalid(path["items"]["x-kubernetes-map-type"], text(*items, "x-kubernetes-map-type"), "must be atomic as item of a list with x-kubernetes-list-type=set");
    if (type == "array" && !text(*items, "x-kubernetes-list-type").empty() && text(*items, "x-kubernetes-list-type") != "atomic")
      errors_.invalid(path["items"]["x-kubernetes-list-type"], text(*items, "x-kubernetes-list-type"), "must be atomic as item of a list with x-kubernetes-list-type=set");
  }

  void map_keys(const json::Array& keys, const json::Value& items, const Path& path) {
    const json::Array* required = json::get_array(items, {"required"});
    std::vector<std::string> seen;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (!keys[i].is_string()) continue;
      std::string key(keys[i].get_string());
      Path at = path["x-kubernetes-list-map-keys"][i];
      if (std::ranges::find(seen, key) != seen.end()) errors_.duplicate(at, keys[i]);
      seen.push_back(key);
      const json::Value* property = json::find(items, {"properties", key});
      if (!is_schema(property)) {
        errors_.invalid(at, key, "must be a property of the items");
        continue;
      }
      std::string_view type = text(*property, "type");
      Path where = path["items"]["properties"].key(key);
      if (type == "object" || type == "array") errors_.invalid(where["type"], type, "must be a scalar type if parent array's x-kubernetes-list-type is map");
      bool always = child(*property, "default") != nullptr || (required != nullptr && std::ranges::find(*required, keys[i]) != required->end());
      if (!always) errors_.required(where["default"], "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
      if (flag(*property, "nullable")) errors_.forbidden(where["nullable"], "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
    }
  }

  void junctions(const json::Value& s, const Path& path, bool skip_any, bool skip_first_all) {
    if (const json::Array* all = json::get_array(s, {"allOf"}))
      for (std::size_t i = 0; i < all->size(); ++i) nested((*all)[i], path["allOf"][i], i == 0 && skip_first_all);
    if (const json::Array* any = json::get_array(s, {"anyOf"}); any != nullptr && !skip_any)
      for (std::size_t i = 0; i < any->size(); ++i) nested((*any)[i], path["anyOf"][i], false);
    if (const json::Array* one = json::get_array(s, {"oneOf"}))
      for (std::size_t i = 0; i < one->size(); ++i) nested((*one)[i], path["oneOf"][i], false);
    if (const json::Value* none = child(s, "not"); is_schema(none)) nested(*none, path["not"], false);
  }

  // Below a junction only values are judged: structure is said outside.
  void nested(const json::Value& s, const Path& path, bool skip_any) {
    if (!s.is_object()) return;
    common(s, path);
    static constexpr std::pair<const char*, std::string_view> kForbidden[] = {
        {"type", "must be empty to be structural"},
        {"additionalProperties", "must be undefined to be structural"},
        {"default", "must be undefined to be structural"},
        {"title", "must be empty to be structural"},
        {"description", "must be empty to be structural"},
        {"nullable", "must be false to be structural"},
        {"externalDocs", "must be undefined to be structural"},
        {"x-kubernetes-preserve-unknown-fields", "must be false to be structural"},
        {"x-kubernetes-embedded-resource", "must be false to be structural"},
        {"x-kubernetes-int-or-string", "must be false to be structural"},
        {"x-kubernetes-list-map-keys", "must be empty to be structural"},
        {"x-kubernetes-list-type", "must be undefined to be structural"},
        {"x-kubernetes-map-type", "must be undefined to be structural"},
    };
    for (const auto& [name, why] : kForbidden)
      if (child(s, name) != nullptr) errors_.forbidden(path[name], why);
    junctions(s, path, skip_any, false);
    if (const json::Value* items = child(s, "items"); is_schema(items)) nested(*items, path["items"], false);
    if (const json::Object* properties = json::get_object(s, {"properties"}))
      for (auto& m : *properties) {
        if (m.key() == "metadata") errors_.forbidden(path["properties"].key("metadata"), "must not be specified in a nested context");
        nested(m.value(), path["properties"].key(m.key()), false);
      }
  }

  // Every field that a junction names must be specified outside of it.
  void complete(const json::Value& holder, const json::Value& outside, const Path& path, const Path& outside_path) {
    auto branch = [&](const json::Value& b, const Path& at) {
      if (b.is_object()) complete_branch(b, outside, at, outside_path);
    };
    for (const char* name : {"allOf", "anyOf", "oneOf"})
      if (const json::Array* branches = json::get_array(holder, {name}))
        for (std::size_t i = 0; i < branches->size(); ++i) branch((*branches)[i], path[name][i]);
    if (const json::Value* none = child(holder, "not"); is_schema(none)) branch(*none, path["not"]);
  }

  void complete_branch(const json::Value& b, const json::Value& outside, const Path& path, const Path& outside_path) {
    complete(b, outside, path, outside_path);
    if (const json::Value* items = child(b, "items"); is_schema(items)) {
      const json::Value* real = child(outside, "items");
      if (is_schema(real)) complete_branch(*items, *real, path["items"], outside_path["items"]);
      else errors_.required(outside_path["items"], cat("because it is defined in ", path["items"].text()));
    }
    const json::Object* properties = json::get_object(b, {"properties"});
    if (properties == nullptr) return;
    for (auto& m : *properties) {
      std::string_view name = m.key();
      const json::Value* real = json::find(outside, {"properties", name});
      Path at = path["properties"].key(name), real_path = outside_path["properties"].key(name);
      if (is_schema(real)) complete_branch(m.value(), *real, at, real_path);
      else errors_.required(real_path, cat("because it is defined in ", at.text()));
    }
  }

  // A default is an object as any other: pruned and valid.
  void default_value(const json::Value& s, const Path& path, Level level) {
    const json::Value* value = child(s, "default");
    if (value == nullptr) return;
    if (level == Level::kRoot) return errors_.forbidden(path["default"], "must not be set at the root");
    auto compiled = compile_schema(s);
    if (!compiled) return;  // said elsewhere
    json::Value pruned = *value;
    prune_value(pruned, **compiled);
    if (pruned != *value) errors_.invalid(path["default"], *value, "must not have unknown fields");
    FieldErrors found;
    validate_value(pruned, **compiled, path["default"], found);
    for (const FieldError& e : found.errors()) errors_.add(e);
  }

  FieldErrors& errors_;
};

}  // namespace

void check_schema(const json::Value& schema, const Path& path, FieldErrors& errors) {
  auto compiled = compile_schema(schema);
  if (!compiled && compiled.error().message().starts_with("schema:")) {  // too deep or too large to be looked at
    errors.invalid(path, "", compiled.error().message());
    return;
  }
  Check(errors).structural(schema, path, Level::kRoot);
}

}  // namespace monopod::api::crd
