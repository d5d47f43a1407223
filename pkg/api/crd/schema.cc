#include "api/crd/schema.h"

#include <algorithm>

#include "api/crd/limits.h"
#include "base/strings.h"

namespace monopod::api::crd {
namespace {

constexpr std::string_view kTypeNames[] = {"", "object", "array", "string", "integer", "number", "boolean"};

class Compiler {
 public:
  Result<SchemaPtr> node(const json::Value& json, int depth) {
    if (!json.is_object()) return fail(Code::kInvalidArgument, "schema: not an object");
    if (depth > kSchemaDepthMax) return fail(Code::kInvalidArgument, cat("schema: nested deeper than ", kSchemaDepthMax));
    if (++nodes_ > kSchemaNodesMax) return fail(Code::kInvalidArgument, cat("schema: more than ", kSchemaNodesMax, " nodes"));
    auto out = std::make_unique<Schema>();
    out->type = parse_type(json::get_string(json, {"type"}));
    out->nullable = json::get_bool(json, {"nullable"});
    out->preserve_unknown = json::get_bool(json, {"x-kubernetes-preserve-unknown-fields"});
    out->embedded = json::get_bool(json, {"x-kubernetes-embedded-resource"});
    out->int_or_string = json::get_bool(json, {"x-kubernetes-int-or-string"});
    out->merge = merge_rule(json);
    if (const json::Array* keys = json::get_array(json, {"x-kubernetes-list-map-keys"})) out->list_keys = texts(*keys);
    if (const json::Value* value = json::find(json, {"default"}); value != nullptr && !value->is_null()) {
      out->default_value = std::make_unique<const json::Value>(*value);
      out->default_bytes = json::format(*value).size() + 32;
      out->has_defaults = true;
    }
    if (const json::Object* properties = json::get_object(json, {"properties"})) {
      for (auto& m : *properties) {
        TRY_ASSIGN(SchemaPtr child, node(m.value(), depth + 1));
        out->has_defaults |= child->has_defaults;
        out->properties.emplace_back(m.key(), std::move(child));
      }
      std::ranges::sort(out->properties, {}, [](auto& p) -> const std::string& { return p.first; });
    }
    if (const json::Value* items = json::find(json, {"items"}); items != nullptr && items->is_object()) {
      TRY_ASSIGN(out->items, node(*items, depth + 1));
      out->has_defaults |= out->items->has_defaults;
    }
    if (const json::Value* additional = json::find(json, {"additionalProperties"})) {
      if (additional->is_object()) {
        TRY_ASSIGN(out->additional, node(*additional, depth + 1));
        out->has_defaults |= out->additional->has_defaults;
      } else {
        out->any_additional = additional->is_bool() && additional->get_bool();
      }
    }
    TRY_ASSIGN(out->rules, rules(json, depth));
    return SchemaPtr(std::move(out));
  }

 private:
  static std::vector<std::string> texts(const json::Array& list) {
    std::vector<std::string> out;
    for (const json::Value& item : list)
      if (item.is_string()) out.emplace_back(item.get_string());
    return out;
  }

  static MergeRule merge_rule(const json::Value& json) {
    std::string_view list = json::get_string(json, {"x-kubernetes-list-type"}), map = json::get_string(json, {"x-kubernetes-map-type"});
    if (list == "set") return MergeRule::kSet;
    if (list == "map") return MergeRule::kMap;
    if (list == "atomic" || map == "atomic") return MergeRule::kAtomic;
    return map == "granular" ? MergeRule::kGranular : MergeRule::kNone;
  }

  Result<std::unique_ptr<const Rules>> rules(const json::Value& json, int depth) {
    auto out = std::make_unique<Rules>();
    bool any = false;
    auto number = [&](const char* name, double& to, Rules::Has bit) {
      const json::Value* v = json::find(json, {name});
      if (v == nullptr || !v->is_number()) return;
      to = v->to_number<double>();
      out->has |= bit;
    };
    auto count = [&](const char* name, std::int64_t& to, Rules::Has bit) {
      const json::Value* v = json::find(json, {name});
      if (v == nullptr || !v->is_int64()) return;
      to = v->get_int64();
      out->has |= bit;
    };
    number("minimum", out->minimum, Rules::kMinimum);
    number("maximum", out->maximum, Rules::kMaximum);
    number("multipleOf", out->multiple_of, Rules::kMultipleOf);
    count("minLength", out->min_length, Rules::kMinLength);
    count("maxLength", out->max_length, Rules::kMaxLength);
    count("minItems", out->min_items, Rules::kMinItems);
    count("maxItems", out->max_items, Rules::kMaxItems);
    count("minProperties", out->min_properties, Rules::kMinProperties);
    count("maxProperties", out->max_properties, Rules::kMaxProperties);
    if (json::get_bool(json, {"exclusiveMinimum"})) out->has |= Rules::kExclusiveMinimum;
    if (json::get_bool(json, {"exclusiveMaximum"})) out->has |= Rules::kExclusiveMaximum;
    if (json::get_bool(json, {"uniqueItems"})) out->has |= Rules::kUniqueItems;
    any = out->has != 0;
    if (const json::Array* list = json::get_array(json, {"enum"}); list != nullptr && !list->empty()) {
      out->enumeration = *list;
      out->has |= Rules::kEnum;
      any = true;
    }
    if (const json::Array* list = json::get_array(json, {"required"}); list != nullptr && !list->empty()) {
      out->required = texts(*list);
      any = true;
    }
    if (std::string_view format = json::get_string(json, {"format"}); !format.empty()) {
      out->format = format;
      any = true;
    }
    if (std::string_view pattern = json::get_string(json, {"pattern"}); !pattern.empty()) {
      TRY_ASSIGN(out->pattern, Pattern::compile(pattern));
      out->pattern_text = pattern;
      any = true;
    }
    for (auto [name, list] : {std::pair("allOf", &out->all_of), std::pair("anyOf", &out->any_of), std::pair("oneOf", &out->one_of)}) {
      const json::Array* branches = json::get_array(json, {name});
      if (branches == nullptr) continue;
      for (const json::Value& branch : *branches) {
        TRY_ASSIGN(SchemaPtr made, node(branch, depth + 1));
        list->push_back(std::move(made));
        any = true;
      }
    }
    if (const json::Value* none = json::find(json, {"not"}); none != nullptr && none->is_object()) {
      TRY_ASSIGN(out->none_of, node(*none, depth + 1));
      any = true;
    }
    if (!any) return std::unique_ptr<const Rules>();
    return std::unique_ptr<const Rules>(std::move(out));
  }

  std::size_t nodes_ = 0;
};

}  // namespace

std::string_view type_name(SchemaType type) { return kTypeNames[static_cast<std::size_t>(type)]; }

SchemaType parse_type(std::string_view name) {
  for (std::size_t i = 1; i < std::size(kTypeNames); ++i)
    if (kTypeNames[i] == name) return static_cast<SchemaType>(i);
  return SchemaType::kAny;
}

const Schema* Schema::property(std::string_view name) const {
  auto at = std::ranges::lower_bound(properties, name, {}, [](auto& p) { return std::string_view(p.first); });
  return at != properties.end() && at->first == name ? at->second.get() : nullptr;
}

const Schema* Schema::member(std::string_view name) const {
  const Schema* found = property(name);
  return found != nullptr ? found : additional.get();
}

Result<SchemaPtr> compile_schema(const json::Value& json) { return Compiler().node(json, 0); }

}  // namespace monopod::api::crd
