#include "api/patch/typed.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "api/crd/kind.h"
#include "api/schema/canonical.h"
#include "base/strings.h"

namespace monopod::api::typed {
namespace {

using json::Array;
using json::Object;
using json::Value;

// What a value is to the walk: where its items' rules come from.
struct Node {
  enum Form { kLeaf, kStruct, kMap, kKeyedList, kSet } form = kLeaf;
  const Type* type = nullptr;    // kStruct: its fields; kMap, kKeyedList: of the elements, null for scalars
  const Field* field = nullptr;  // kKeyedList: its keys
  const crd::Schema* schema = nullptr;  // of a custom kind, instead of the two; null in a kMap: nothing is known of what is below
};

Node node_of_type(const Type* type);
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

Node node_of_type(const Type* type) {
  if (type == nullptr || type->atomic()) return {};
  return {Node::kStruct, type};
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
// Of one member or item of this node.
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

std::string default_of_key(const Node& node, std::string_view name) {
  if (node.schema != nullptr) {
    const crd::Schema* key = node.schema->items->property(name);
    return key == nullptr || key->default_value == nullptr ? std::string() : json::format(*key->default_value);
  }
  const Field* field = node.type->find(name);
  return field == nullptr ? std::string() : std::string(field->default_value());
}

// An empty answer: the item has none of the keys.
std::optional<std::string> item_element(const Node& node, const Value& item) {
  if (node.form == Node::kSet) return cat("v:", json::format(item));
  const Object* object = item.if_object();
  if (object == nullptr) return std::nullopt;
  std::vector<std::string_view> names;
  if (node.schema != nullptr) names.assign(node.schema->list_keys.begin(), node.schema->list_keys.end());
  else
    for (std::size_t i = 0; i < node.field->list_key_count(); ++i) names.push_back(node.field->list_key(i));
  std::ranges::sort(names);
  std::string out = "k:{";
  for (std::string_view name : names) {
    const Value* v = object->if_contains(name);
    std::string text = v != nullptr ? json::format(*v) : default_of_key(node, name);
    if (text.empty()) continue;
    if (out.size() > 3) out += ',';
    out += cat("\"", name, "\":", text);
  }
  if (out.size() == 3) return std::nullopt;
  return out + "}";
}

bool is_list(const Node& node) { return node.form == Node::kKeyedList || node.form == Node::kSet; }
bool is_empty(const Value* v) {
  return v == nullptr || v->is_null() || (v->is_object() && v->get_object().empty()) || (v->is_array() && v->get_array().empty());
}
// The value has the form its node says (a live object may hold anything where the tables say otherwise).
bool fits(const Node& node, const Value* v) { return v == nullptr || (is_list(node) ? v->is_array() : v->is_object()); }

// Where a walk is, for what it complains of.
struct At {
  const At* up;
  std::string_view step;  // ".name", "[]"
};
std::string path_of(const At* at) { return at == nullptr ? std::string() : cat(path_of(at->up), at->step); }

Result<> collect(const Value& value, const Node& node, const At* path, FieldSet& set) {
  if (node.form == Node::kLeaf || !fits(node, &value)) {
    set.member = true;
    return {};
  }
  if (is_list(node)) {
    const At here{path, "[]"};
    const Node item_node = child_of(node, {});
    for (const Value& item : value.get_array()) {
      auto element = item_element(node, item);
      if (!element) return fail(Code::kInvalidArgument, cat(path_of(path), ": element has none of the list's keys"));
      if (set.children.contains(*element)) {
        FieldSet one;
        one.at(*element).member = true;
        return fail(Code::kInvalidArgument, cat(path_of(path), ": duplicate entries for key ", one.paths()[0]));
      }
      FieldSet& below = set.at(*element);
      TRY(collect(item, item_node, &here, below));
      below.member = true;
    }
    return {};
  }
  for (auto& m : value.get_object()) {
    std::string_view name = m.key();
    FieldSet& below = set.at(cat("f:", name));
    const At dot{path, "."}, here{&dot, name};
    TRY(collect(m.value(), child_of(node, name), &here, below));
    if (is_empty(&m.value()) || node.form == Node::kMap) below.member = true;
  }
  return {};
}

// First item of each element; an object that other writers filled may repeat one.
using Items = std::unordered_map<std::string, const Value*>;
std::vector<std::string> list_elements(const Node& node, const Value* list, Items& items) {
  std::vector<std::string> order;
  if (list == nullptr || !list->is_array()) return order;
  for (const Value& item : list->get_array()) {
    auto element = item_element(node, item);
    if (element && items.emplace(*element, &item).second) order.push_back(std::move(*element));
  }
  return order;
}

bool same(const Value* a, const Value* b) { return a != nullptr && b != nullptr && same_tree(*a, *b); }

// Of two that are not the same.
void diff(const Value* before, const Value* after, const Node& node, FieldSet& added, FieldSet& modified, FieldSet& removed);

void diff_child(const std::string& element, const Value* before, const Value* after, const Node& node, FieldSet& added, FieldSet& modified, FieldSet& removed) {
  FieldSet a, m, r;
  diff(before, after, node, a, m, r);
  if (!a.empty()) added.children.emplace(element, std::move(a));
  if (!m.empty()) modified.children.emplace(element, std::move(m));
  if (!r.empty()) removed.children.emplace(element, std::move(r));
}

void diff(const Value* before, const Value* after, const Node& node, FieldSet& added, FieldSet& modified, FieldSet& removed) {
  if (before == nullptr && after == nullptr) return;
  bool leaf = node.form == Node::kLeaf || (is_empty(before) && is_empty(after)) || !fits(node, before) || !fits(node, after);
  if (leaf) {
    if (before == nullptr) added.member = true;
    else if (after == nullptr) removed.member = true;
    else if (*before != *after) modified.member = true;
    return;
  }
  if (before == nullptr) added.member = true;
  if (after == nullptr) removed.member = true;
  if (is_list(node)) {
    Items old_items, new_items;
    auto old_order = list_elements(node, before, old_items), new_order = list_elements(node, after, new_items);
    Node below = child_of(node, {});
    for (const std::string& e : old_order) {
      auto it = new_items.find(e);
      const Value *was = old_items[e], *is = it == new_items.end() ? nullptr : it->second;
      if (!same(was, is)) diff_child(e, was, is, below, added, modified, removed);
    }
    for (const std::string& e : new_order)
      if (!old_items.contains(e)) diff_child(e, nullptr, new_items[e], below, added, modified, removed);
    return;
  }
  static const Object kNone;
  const Object& x = before == nullptr ? kNone : before->get_object();
  const Object& y = after == nullptr ? kNone : after->get_object();
  for (auto& m : x) {
    const Value* other = y.if_contains(m.key());
    if (!same(&m.value(), other)) diff_child(cat("f:", std::string_view(m.key())), &m.value(), other, child_of(node, m.key()), added, modified, removed);
  }
  for (auto& m : y)
    if (!x.contains(m.key())) diff_child(cat("f:", std::string_view(m.key())), nullptr, &m.value(), child_of(node, m.key()), added, modified, removed);
}

// In the live tree's storage.
Value merged(const Value* live, const Value* config, const Node& node);

// Both orders are kept: the configuration's for what it names, the live one's for the rest.
Value merged_list(const Value& live, const Value& config, const Node& node) {
  Items left, right;
  auto l = list_elements(node, &live, left), r = list_elements(node, &config, right);
  std::vector<std::string> shared;
  for (const std::string& e : r)
    if (left.contains(e)) shared.push_back(e);
  std::size_t next = 0;
  std::unordered_map<std::string, bool> done;
  Node below = child_of(node, {});
  Array out(live.storage());
  auto take = [&](const std::string& e) {
    auto a = left.find(e), b = right.find(e);
    out.push_back(merged(a == left.end() ? nullptr : a->second, b == right.end() ? nullptr : b->second, below));
  };
  for (std::size_t i = 0, j = 0; i < l.size() || j < r.size();) {
    if (i < l.size() && j < r.size()) {
      if (l[i] == r[j]) {
        take(l[i]);
        done[l[i]] = true;
        ++i, ++j, ++next;
        continue;
      }
      if (right.contains(l[i]) && next < shared.size() && shared[next] != l[i]) {
        ++i;  // shared, but its turn comes with the configuration's order
        continue;
      }
    }
    if (i < l.size()) {
      if (!right.contains(l[i])) {
        take(l[i++]);
        continue;
      }
      if (done.contains(l[i])) ++i;
    }
    if (j < r.size()) {
      take(r[j]);
      done[r[j]] = true;
      if (next < shared.size() && shared[next] == r[j]) ++next;
      ++j;
    } else if (i < l.size() && right.contains(l[i]) && !done.contains(l[i])) {
      ++i;
    }
  }
  return out;
}

Value merged(const Value* live, const Value* config, const Node& node) {
  if (config == nullptr) return *live;
  if (live == nullptr) return *config;
  if ( node.form == Node::kLeaf || !fits(node, live) || !fits(node, config)) return Value(*config, live->storage());
  if (is_list(node)) return merged_list(*live, *config, node);
  const Object &left = live->get_object(), &right = config->get_object();
  Object out(live->storage());
  out.reserve(left.size() + right.size());
  for (auto& m : left) out.emplace(m.key(), merged(&m.value(), right.if_contains(m.key()), child_of(node, m.key())));
  for (auto& m : right)
    if (!left.contains(m.key())) out.emplace(m.key(), m.value());
  return out;
}

bool covers(const Value& live, const Value& config, const Node& node) {
  if (node.form == Node::kLeaf || !fits(node, &live) || !fits(node, &config)) return same_tree(live, config);
  if (!is_list(node)) {
    for (auto& m : config.get_object()) {
      const Value* have = live.get_object().if_contains(m.key());
      if (have == nullptr || !covers(*have, m.value(), child_of(node, m.key()))) return false;
    }
    return true;
  }
  const Array& have = live.get_array();
  Node below = child_of(node, {});
  auto at = have.begin();
  for (const Value& item : config.get_array()) {  // found in their order: nothing moves
    auto element = item_element(node, item);
    while (at != have.end() && item_element(node, *at) != element) ++at;
    if (!element || at == have.end() || !covers(*at, item, below)) return false;
    ++at;
  }
  return true;
}

void remove(Value& tree, const Node& node, const FieldSet& last, const FieldSet& kept) {
  static const FieldSet kNone;
  if (node.form == Node::kLeaf || !fits(node, &tree)) return;
  // True: the item goes. Else what is below it may.
  auto gone = [&](const std::string& element, Value& item, const Node& below) {
    const FieldSet* was = last.find(element);
    if (was == nullptr) return false;
    const FieldSet* is = kept.find(element);
    if (is == nullptr && (was->member || element[0] == 'f')) return true;
    remove(item, below, *was, is == nullptr ? kNone : *is);
    return false;
  };
  if (is_list(node)) {
    Array out(tree.storage());
    for (Value& item : tree.get_array()) {
      auto element = item_element(node, item);
      if (element && gone(*element, item, child_of(node, {}))) continue;
      out.push_back(std::move(item));
    }
    tree = std::move(out);
    return;
  }
  std::vector<std::string> names;
  for (auto& m : tree.get_object())
    if (gone(cat("f:", std::string_view(m.key())), m.value(), child_of(node, m.key()))) names.emplace_back(m.key());
  for (const std::string& name : names) tree.get_object().erase(name);
}

}  // namespace

Result<FieldSet> fields_of(const Value& tree, const Type& type) {
  FieldSet out;
  TRY(collect(tree, {Node::kStruct, &type}, nullptr, out));
  return out;
}

Difference compare(const Value& before, const Value& after, const Type& type) {
  Difference d;
  if (!same_tree(before, after)) diff(&before, &after, {Node::kStruct, &type}, d.added, d.modified, d.removed);
  return d;
}

bool covers(const Value& live, const Value& configuration, const Type& type) {
  return covers(live, configuration, {Node::kStruct, &type, nullptr});
}

Value merge(const Value& live, const Value& configuration, const Type& type) {
  return merged(&live, &configuration, {Node::kStruct, &type});
}

void remove_items(Value& tree, const Type& type, const FieldSet& last, const FieldSet& kept) {
  remove(tree, {Node::kStruct, &type}, last, kept);
}

}  // namespace monopod::api::typed
