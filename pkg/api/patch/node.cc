#include "api/patch/node.h"

#include <algorithm>

#include "api/crd/kind.h"
#include "base/strings.h"

namespace monopod::api::typed {

using json::Object;
using json::Value;

namespace {

const Type* metadata_type() { return find_type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"); }

Node node_of_schema(const crd::Schema* schema) {
  constexpr Node kUnknown{Node::kMap};  // maps are granular, lists are not, as where upstream has to guess
  if (schema == nullptr) return kUnknown;
  if (schema->merge == crd::MergeRule::kAtomic) return {};
  if (schema->merge == crd::MergeRule::kMap && schema->items) return {Node::kKeyedList, nullptr, nullptr, schema};
  if (schema->merge == crd::MergeRule::kSet) return {Node::kSet, nullptr, nullptr, schema};
  if (schema->type == crd::SchemaType::kObject && schema->properties.empty() && (schema->additional || schema->any_additional)) return {Node::kMap, nullptr, nullptr, schema};
  if (schema->type == crd::SchemaType::kObject || !schema->properties.empty()) return {Node::kStruct, nullptr, nullptr, schema};
  return schema->preserve_unknown ? kUnknown : Node{};
}

Node child_of_schema(const Node& node, std::string_view member) {
  const crd::Schema& schema = *node.schema;
  if (node.form == Node::kKeyedList) return node_of_schema(schema.items.get());
  if (schema.embedded && member == "metadata") return node_of_type(metadata_type());
  if (const crd::Schema* below = schema.member(member)) return node_of_schema(below);
  return schema.preserve_unknown || schema.any_additional ? node_of_schema(nullptr) : Node{};
}

Node node_of_field(const Field* field) {
  if (field == nullptr) return {};
  const Type* element = field->kind() == FieldKind::kObject ? field->type() : nullptr;
  switch (field->shape()) {
    case Shape::kSingle: return field->atomic_map() ? Node{} : node_of_type(element);
    case Shape::kMap: return field->atomic_map() ? Node{} : Node{Node::kMap, element, field, nullptr};
    case Shape::kList:
      if (field->list_type() == ListType::kMap && element != nullptr) return {Node::kKeyedList, element, field, nullptr};
      if (field->list_type() == ListType::kSet) return {Node::kSet, nullptr, field, nullptr};
      return {};
  }
  return {};
}

std::string default_of_key(const Node& node, std::string_view name) {
  if (node.schema != nullptr) {
    const crd::Schema* key = node.schema->items->property(name);
    return key == nullptr || key->default_value == nullptr ? std::string() : json::format(*key->default_value);
  }
  const Field* field = node.type->find(name);
  return field == nullptr ? std::string() : std::string(field->default_value());
}

std::vector<std::string_view> keys_of(const Node& node) {
  if (node.schema != nullptr) return {node.schema->list_keys.begin(), node.schema->list_keys.end()};
  std::vector<std::string_view> names(node.field->list_key_count());
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = node.field->list_key(i);
  return names;
}

// As json::format(), without its machinery for what keys mostly are.
std::string key_text(const Value& key) {
  if (const std::int64_t* number = key.if_int64()) return std::to_string(*number);
  const boost::json::string* text = key.if_string();
  if (text == nullptr || std::ranges::any_of(*text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; })) return json::format(key);
  return cat('"', std::string_view(*text), '"');
}

}  // namespace

Node node_of_type(const Type* type) {
  if (type == nullptr || type->atomic()) return {};
  return {Node::kStruct, type};
}

Node child_of(const Node& node, std::string_view member) {
  if (node.schema != nullptr) return child_of_schema(node, member);
  switch (node.form) {
    case Node::kStruct: {
      const Field* field = node.type->find(member);
      const crd::CustomType* custom = node.type->custom();
      if (field != nullptr || custom == nullptr) return node_of_field(field);
      return child_of_schema({Node::kStruct, nullptr, nullptr, custom->schema.get()}, member);
    }
    case Node::kMap:
      if (node.type == nullptr && node.field == nullptr) return node;  // nothing is known of it
      return node_of_type(node.type);
    case Node::kKeyedList: return node_of_type(node.type);
    default: return {};
  }
}

std::optional<std::string> item_element(const Node& node, const Value& item) {
  if (node.form == Node::kSet) return cat("v:", key_text(item));
  const Object* object = item.if_object();
  if (object == nullptr) return std::nullopt;
  std::vector<std::string_view> names = keys_of(node);
  std::ranges::sort(names);
  std::string out = "k:{";
  for (std::string_view name : names) {
    const Value* v = object->if_contains(name);
    std::string text = v != nullptr ? key_text(*v) : default_of_key(node, name);
    if (text.empty()) continue;
    if (out.size() > 3) out += ',';
    out += cat("\"", name, "\":", text);
  }
  if (out.size() == 3) return std::nullopt;
  return out + "}";
}

ItemNames::ItemNames(const Node& node) : set_(node.form == Node::kSet) {
  if (set_) return;
  for (std::string_view name : keys_of(node)) keys_.push_back({name, default_of_key(node, name)});
}

bool ItemNames::has_name(const Value& item) const {
  if (set_) return true;
  const Object* object = item.if_object();
  return object != nullptr && std::ranges::any_of(keys_, [object](const Key& key) { return !key.default_text.empty() || object->contains(key.name); });
}

bool ItemNames::same(const Value& a, const Value& b) const {
  if (set_) return a == b;
  return std::ranges::all_of(keys_, [&x = a.get_object(), &y = b.get_object()](const Key& key) {
    const Value *v = x.if_contains(key.name), *w = y.if_contains(key.name);
    if (v == nullptr || w == nullptr) return v == w || key_text(v != nullptr ? *v : *w) == key.default_text;
    return *v == *w;
  });
}

bool is_empty(const Value* v) {
  return v == nullptr || v->is_null() || (v->is_object() && v->get_object().empty()) || (v->is_array() && v->get_array().empty());
}

}  // namespace monopod::api::typed
