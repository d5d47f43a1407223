// What the most frequent applies come to, found out without sets and without a merge: nothing, or another value here and there.
#include <algorithm>
#include <optional>

#include "api/patch/node.h"
#include "api/patch/typed.h"
#include "api/schema/canonical.h"
#include "base/strings.h"

namespace monopod::api::typed {
namespace {

using json::Array;
using json::Object;
using json::Value;

constexpr std::size_t kItemsMax = 32;  // of a list whose items are told apart one by one

// Of a list's items; none where two are the same, one has no name, or they are too many.
std::optional<std::vector<std::string>> elements_of(const Array& items, const Node& node) {
  if (items.size() > kItemsMax) return std::nullopt;
  std::vector<std::string> out;
  out.reserve(items.size());
  for (const Value& item : items) {
    std::optional<std::string> element = item_element(node, item);
    if (!element || std::ranges::find(out, *element) != out.end()) return std::nullopt;
    out.push_back(*std::move(element));
  }
  return out;
}

// The one of a struct's or map's member.
const Value* find_field(const Object& fields, Object::const_iterator& next, std::string_view name) {
  if (next != fields.end()) {  // both are sorted, as a rule
    std::string_view key = next->key();
    if (key.starts_with("f:") && key.substr(2) == name) return &(next++)->value();
  }
  return fields.if_contains(cat("f:", name));
}

// member: the path that leads to value is in the set itself.
bool written(const Value& value, const Node& node, bool member, const Value& fields) {
  const Object* names = fields.if_object();
  if (names == nullptr) return false;
  if (node.form == Node::kLeaf || !fits(node, &value)) return names->empty();
  const std::size_t count = is_list(node) ? value.get_array().size() : value.get_object().size();
  const bool dot = member && count > 0;
  if (names->size() != count + (dot ? 1 : 0) || (dot && !names->contains("."))) return false;
  if (is_list(node)) {
    auto elements = elements_of(value.get_array(), node);
    if (!elements) return false;
    const Node below = child_of(node, {});
    for (std::size_t i = 0; i < count; ++i) {
      const Value* found = names->if_contains((*elements)[i]);
      if (found == nullptr || !written(value.get_array()[i], below, true, *found)) return false;
    }
    return true;
  }
  auto next = names->begin();
  if (dot && next->key() == ".") ++next;
  for (auto& m : value.get_object()) {
    const Value* found = find_field(*names, next, m.key());
    if (found == nullptr || !written(m.value(), child_of(node, m.key()), node.form == Node::kMap, *found)) return false;
  }
  return true;
}

bool is_one_of(std::span<const std::string_view> names, std::string_view name) { return std::ranges::find(names, name) != names.end(); }

// A scalar that canonicalize() leaves as it is, whatever the field.
bool is_plain_value(const Value& v) {
  switch (v.kind()) {
    case boost::json::kind::bool_: return v.get_bool();
    case boost::json::kind::int64: return v.get_int64() != 0;
    case boost::json::kind::string: return !v.get_string().empty();
    default: return false;
  }
}

// False: more than values.
bool overlay(const Value& live, const Value& config, const Node& node, FieldSet& modified);

// All have a name of their own.
bool are_distinct(const Array& items, const ItemNames& names) {
  if (items.size() > kItemsMax) return false;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!names.has_name(items[i])) return false;
    for (std::size_t j = 0; j < i; ++j)
      if (names.same(items[i], items[j])) return false;
  }
  return true;
}

bool overlay_items(const Array& live, const Array& config, const Node& node, FieldSet& modified) {
  const ItemNames names(node);
  if (!are_distinct(live, names) || !are_distinct(config, names)) return false;
  const Node below = child_of(node, {});
  std::size_t at = 0;
  for (const Value& item : config) {  // found in their order: nothing moves
    while (at < live.size() && !names.same(live[at], item)) ++at;
    FieldSet within;
    if (at == live.size() || !overlay(live[at], item, below, within)) return false;
    if (!within.empty()) modified.add(*item_element(node, item), std::move(within));
    ++at;
  }
  return true;
}

bool overlay(const Value& live, const Value& config, const Node& node, FieldSet& modified) {
  if (node.form == Node::kLeaf || !fits(node, &live) || !fits(node, &config)) {
    if (same_tree(live, config)) return true;
    modified.member = true;
    return !live.is_structured() && is_plain_value(config);
  }
  if (is_list(node)) return overlay_items(live.get_array(), config.get_array(), node, modified);
  for (auto& m : config.get_object()) {
    const Value* have = live.get_object().if_contains(m.key());
    FieldSet below;
    if (have == nullptr || !overlay(*have, m.value(), child_of(node, m.key()), below)) return false;
    if (!below.empty()) modified.add(cat("f:", std::string_view(m.key())), std::move(below));
  }
  return true;
}

// The one that is there.
template <typename Items>
auto& find_item(Items& items, const Node& node, std::string_view element) {
  return *std::ranges::find_if(items, [&](const Value& item) { return item_element(node, item) == element; });
}

void lay_over(Value& tree, const Value& config, const Node& node, const FieldSet& modified) {
  if (modified.member) tree = config;
  for (const auto& [element, below] : modified.children) {
    if (is_list(node)) {
      lay_over(find_item(tree.get_array(), node, element), find_item(config.get_array(), node, element), child_of(node, {}), below);
      continue;
    }
    std::string_view name = std::string_view(element).substr(2);
    lay_over(tree.get_object().at(name), config.get_object().at(name), child_of(node, name), below);
  }
}

}  // namespace

bool speaks_of(const Value& configuration, const Type& type, const Unowned& unowned, const Value& fields) {
  const Object *config = configuration.if_object(), *names = fields.if_object();
  if (config == nullptr || names == nullptr) return false;
  const Node node{Node::kStruct, &type};
  std::size_t owned = 0, owned_of_metadata = 0;
  auto next = names->begin();
  for (auto& m : *config) {
    if (is_one_of(unowned.of_object, m.key())) continue;
    const Node below = child_of(node, m.key());
    const bool meta = m.key() == "metadata" && below.form == Node::kStruct && m.value().is_object();
    if (meta && std::ranges::all_of(m.value().get_object(), [&](auto& of) { return is_one_of(unowned.of_metadata, of.key()); })) continue;
    const Value* found = find_field(*names, next, m.key());
    if (found == nullptr) return false;
    ++owned;
    if (!meta) {
      if (!written(m.value(), below, false, *found)) return false;
      continue;
    }
    if (!found->is_object()) return false;
    auto next_of_metadata = found->get_object().begin();
    for (auto& of : m.value().get_object()) {
      if (is_one_of(unowned.of_metadata, of.key())) continue;
      const Value* name = find_field(found->get_object(), next_of_metadata, of.key());
      if (name == nullptr || !written(of.value(), child_of(below, of.key()), false, *name)) return false;
      ++owned_of_metadata;
    }
    if (found->get_object().size() != owned_of_metadata) return false;
  }
  return names->size() == owned;
}

Overlay overlay_of(const Value& live, const Value& configuration, const Type& type, FieldSet& modified) {
  if (!overlay(live, configuration, {Node::kStruct, &type}, modified)) return Overlay::kMore;
  return modified.empty() ? Overlay::kNothing : Overlay::kValues;
}

void lay_over(Value& tree, const Value& configuration, const Type& type, const FieldSet& modified) { lay_over(tree, configuration, {Node::kStruct, &type}, modified); }

}  // namespace monopod::api::typed
