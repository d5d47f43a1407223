#include "api/patch/typed.h"

#include <unordered_map>

#include "api/patch/node.h"
#include "api/schema/canonical.h"
#include "base/strings.h"

namespace monopod::api::typed {
namespace {

using json::Array;
using json::Object;
using json::Value;

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
      if (set.find(*element) != nullptr) {
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
  if (!a.empty()) added.add(element, std::move(a));
  if (!m.empty()) modified.add(element, std::move(m));
  if (!r.empty()) removed.add(element, std::move(r));
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

Value merge(const Value& live, const Value& configuration, const Type& type) {
  return merged(&live, &configuration, {Node::kStruct, &type});
}

void remove_items(Value& tree, const Type& type, const FieldSet& last, const FieldSet& kept) {
  remove(tree, {Node::kStruct, &type}, last, kept);
}

}  // namespace monopod::api::typed
