// Strategic merge patch (kubernetes/community: strategic-merge-patch.md). Lists merge by the tables' merge keys; directives steer:
//   $patch: replace | delete             in a map or as an element of a list
//   $retainKeys: [a, b]                  drops every other key of the map
//   $setElementOrder/<list>: […]         the order of the merged list
//   $deleteFromPrimitiveList/<list>: […] values to take out
#include <algorithm>

#include "api/patch/patch.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::string_view kDirective = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kOrder = "$setElementOrder/";
constexpr std::string_view kDeleteList = "$deleteFromPrimitiveList/";

std::unexpected<Error> bad(std::string message) { return fail(Code::kInvalidArgument, std::move(message)); }

std::unexpected<Error> no_merge_key(const json::Value& element, std::string_view key) {
  return bad(cat("map: ", json::format(element), " does not contain declared merge key: ", key));
}

const json::Value* find_key(const json::Value& element, std::string_view key) {
  const json::Object* o = element.if_object();
  return o == nullptr ? nullptr : o->if_contains(key);
}

// Two elements of a list are the same one: equal keys, or equal scalars where key is empty.
bool same(const json::Value& a, const json::Value& b, std::string_view key) {
  if (key.empty()) return a == b;
  const json::Value *x = find_key(a, key), *y = find_key(b, key);
  return x != nullptr && y != nullptr && *x == *y;
}

std::size_t index_of(const json::Array& list, const json::Value& element, std::string_view key) {
  for (std::size_t i = 0; i < list.size(); ++i)
    if (same(list[i], element, key)) return i;
  return list.size();
}

// A value the original has nothing for: as it is, without directives and nulls.
json::Value without_directives(const json::Value& value) {
  if (const json::Object* o = value.if_object()) {
    json::Object out;
    for (auto& m : *o) {
      std::string_view k = m.key();
      if (k == kDirective || k == kRetainKeys || k.starts_with(kOrder) || k.starts_with(kDeleteList) || m.value().is_null()) continue;
      out.emplace(k, without_directives(m.value()));
    }
    return out;
  }
  if (const json::Array* a = value.if_array()) {
    json::Array out;
    for (auto& item : *a) {
      const json::Value* directive = find_key(item, kDirective);
      if (directive != nullptr && directive->is_string() && (directive->get_string() == "delete" || item.get_object().size() == 1)) continue;
      out.push_back(without_directives(item));
    }
    return out;
  }
  return value;
}

// Elements that `order` names stand as it says, the rest keep the place `server` gives them.
json::Array ordered(json::Array merged, const json::Array& order, const json::Array& server, std::string_view key) {
  json::Array named, rest;
  for (json::Value& v : merged) (index_of(order, v, key) < order.size() ? named : rest).push_back(std::move(v));
  auto sort_by = [&](json::Array& list, const json::Array& by) {
    std::vector<std::pair<std::size_t, std::size_t>> at;
    for (std::size_t i = 0; i < list.size(); ++i) at.emplace_back(index_of(by, list[i], key), i);
    std::ranges::sort(at);
    json::Array out;
    out.reserve(list.size());
    for (auto& [place, i] : at) out.push_back(std::move(list[i]));
    list = std::move(out);
  };
  sort_by(named, order);
  sort_by(rest, server);
  json::Array out;
  out.reserve(named.size() + rest.size());
  std::size_t i = 0, j = 0;
  while (i < rest.size() || j < named.size()) {
    bool take_rest = j >= named.size();
    if (i < rest.size() && j < named.size()) {
      std::size_t left = index_of(server, rest[i], key), right = index_of(server, named[j], key);
      take_rest = left < server.size() && right < server.size() && left < right;
    }
    out.push_back(std::move(take_rest ? rest[i++] : named[j++]));
  }
  return out;
}

Result<> merge_object(json::Value& original, const json::Value& patch, const Type* type);

struct ListRule {
  std::string_view key;     // empty for scalars
  const Type* element;      // null for scalars
};

Result<json::Array> merge_list(const json::Array& original, const json::Array& patch, const ListRule& rule) {
  if (rule.element == nullptr) {  // scalars: union, each once
    json::Array merged;
    for (const json::Array* list : {&original, &patch})
      for (const json::Value& v : *list)
        if (index_of(merged, v, {}) == merged.size()) merged.push_back(v);
    return ordered(std::move(merged), patch, original, {});
  }
  json::Array merged = original, plain;
  bool replace = false;
  for (const json::Value& element : patch) {
    if (!element.is_object()) return bad(cat("lists must be of homogeneous elements: ", json::format(element)));
    const json::Value* directive = find_key(element, kDirective);
    if (directive == nullptr) {
      plain.push_back(element);
      continue;
    }
    std::string_view what = directive->is_string() ? std::string_view(directive->get_string()) : std::string_view();
    if (what == "replace") {
      replace = true;
    } else if (what == "delete") {
      if (find_key(element, rule.key) == nullptr) return no_merge_key(element, rule.key);
      for (std::size_t i; (i = index_of(merged, element, rule.key)) < merged.size();) merged.erase(merged.begin() + static_cast<std::ptrdiff_t>(i));
    } else if (what == "merge") {
      return bad("merging lists cannot yet be specified in the patch");
    } else {
      return bad(cat("unknown patch type: ", what, " in map: ", json::format(element)));
    }
  }
  if (replace) return without_directives(json::Value(std::move(plain))).get_array();
  for (const json::Value& element : plain) {
    if (find_key(element, rule.key) == nullptr) return no_merge_key(element, rule.key);
    std::size_t i = index_of(merged, element, rule.key);
    if (i < merged.size()) TRY(merge_object(merged[i], element, rule.element));
    else merged.push_back(without_directives(element));
  }
  return ordered(std::move(merged), plain, original, rule.key);
}

bool merges(const Field* field) {
  return field != nullptr && field->shape() == Shape::kList && field->patch_merge() && (field->kind() != FieldKind::kObject || !field->merge_key().empty());
}
ListRule rule_of(const Field& field) {
  if (field.kind() != FieldKind::kObject) return {};
  return {field.merge_key(), field.type()};
}

// The members of the patch's list must stand in the order that the directive gives.
Result<> check_order(const json::Array& list, const json::Array& order, std::string_view key) {
  std::size_t at = 0;
  for (const json::Value& element : list) {
    if (find_key(element, kDirective) != nullptr) continue;
    while (at < order.size() && !same(order[at], element, key)) ++at;
    if (at == order.size())
      return bad(cat("The order in patch list:\n", json::format(list), "\n doesn't match ", kOrder.substr(0, kOrder.size() - 1), " list:\n", json::format(order), "\n"));
  }
  return {};
}

Result<> merge_with_order(json::Object& target, const json::Object& patch, std::string_view name, const json::Value& directive, const Field& field) {
  const json::Array* order = directive.if_array();
  if (order == nullptr) return bad("invalid patch format of setElementOrder list");
  ListRule rule = rule_of(field);
  const json::Value *have = target.if_contains(name), *given = patch.if_contains(name);
  json::Array server, merged;
  if (have != nullptr && have->is_array()) server = have->get_array();
  if (given != nullptr && given->is_array()) {
    TRY(check_order(given->get_array(), *order, rule.key));
    if (have != nullptr && have->is_array()) {
      TRY_ASSIGN(merged, merge_list(server, given->get_array(), rule));
    } else {
      merged = without_directives(*given).get_array();
    }
  } else if (given != nullptr && given->is_null()) {
    target.erase(name);
    return {};
  } else if (have == nullptr) {
    return {};
  } else {
    merged = server;
  }
  target[name] = ordered(std::move(merged), *order, server, rule.key);
  return {};
}

Result<> retain_keys(json::Object& target, const json::Object& patch, const json::Value& directive) {
  const json::Array* keys = directive.if_array();
  if (keys == nullptr) return bad("invalid patch format of retainKeys");
  auto retained = [&](std::string_view k) {
    return std::ranges::any_of(*keys, [&](const json::Value& v) { return v.is_string() && v.get_string() == k; });
  };
  for (auto& m : patch) {
    std::string_view k = m.key();
    if (k == kRetainKeys || k.starts_with(kOrder) || k.starts_with(kDeleteList) || m.value().is_null()) continue;
    if (!retained(k)) return bad("invalid patch format of retainKeys");
  }
  std::vector<std::string> gone;
  for (auto& m : target)
    if (!retained(m.key())) gone.emplace_back(m.key());
  for (const std::string& k : gone) target.erase(k);
  return {};
}

Result<> merge_member(json::Object& target, std::string_view name, const json::Value& value, const Field* field) {
  if (value.is_null()) {
    target.erase(name);
    return {};
  }
  json::Value* have = target.if_contains(name);
  if (have == nullptr || have->kind() != value.kind()) {
    target[name] = without_directives(value);
    return {};
  }
  if (value.is_object()) {
    // The value of a map of objects is typed as well.
    if (field != nullptr && field->shape() == Shape::kMap) {
      for (auto& m : value.get_object()) {
        if (m.key() == kDirective) return merge_object(*have, value, nullptr);
        json::Value* inner = have->get_object().if_contains(m.key());
        if (inner != nullptr && inner->is_object() && m.value().is_object()) TRY(merge_object(*inner, m.value(), field->type()));
        else TRY(merge_member(have->get_object(), m.key(), m.value(), nullptr));
      }
      return {};
    }
    return merge_object(*have, value, field == nullptr ? nullptr : field->type());
  }
  if (value.is_array() && merges(field)) {
    TRY_ASSIGN(json::Array merged, merge_list(have->get_array(), value.get_array(), rule_of(*field)));
    *have = std::move(merged);
    return {};
  }
  *have = without_directives(value);
  return {};
}

Result<> merge_object(json::Value& original, const json::Value& patch, const Type* type) {
  const json::Object& changes = patch.get_object();
  if (const json::Value* directive = changes.if_contains(kDirective)) {
    std::string_view what = directive->is_string() ? std::string_view(directive->get_string()) : std::string_view();
    if (what == "replace") {
      original = without_directives(patch);
      return {};
    }
    if (what == "delete") {
      original.emplace_object();
      return {};
    }
    if (what != "merge") return bad(cat("unknown patch type: ", what, " in map: ", json::format(patch)));
  }
  if (!original.is_object()) original.emplace_object();
  json::Object& target = original.get_object();
  if (const json::Value* keys = changes.if_contains(kRetainKeys)) TRY(retain_keys(target, changes, *keys));
  auto find_field = [&](std::string_view name) { return type == nullptr ? nullptr : type->find(name); };
  for (auto& m : changes) {
    std::string_view k = m.key();
    if (!k.starts_with(kOrder)) continue;
    std::string_view name = k.substr(kOrder.size());
    if (const Field* field = find_field(name); merges(field)) TRY(merge_with_order(target, changes, name, m.value(), *field));
  }
  for (auto& m : changes) {
    std::string_view k = m.key();
    if (k == kDirective || k == kRetainKeys || k.starts_with(kOrder)) continue;
    if (k.starts_with(kDeleteList)) {
      std::string_view name = k.substr(kDeleteList.size());
      if (!m.value().is_array()) return bad("invalid patch format of primitive list");
      json::Value* have = target.if_contains(name);
      if (have == nullptr || !have->is_array()) continue;
      json::Array kept;
      for (json::Value& v : have->get_array())
        if (index_of(m.value().get_array(), v, {}) == m.value().get_array().size()) kept.push_back(std::move(v));
      *have = std::move(kept);
      continue;
    }
    const Field* field = find_field(k);
    if (merges(field) && changes.if_contains(cat(kOrder, k)) != nullptr) continue;  // done with its order
    TRY(merge_member(target, k, m.value(), field));
  }
  return {};
}

}  // namespace

Result<json::Value> apply_strategic_merge_patch(const json::Value& original, const json::Value& patch, const Type& type) {
  if (!patch.is_object()) return bad("error decoding patch: json: cannot unmarshal into Go value of type map[string]interface {}");
  json::Value out = original;
  TRY(merge_object(out, patch, &type));
  return out;
}

}  // namespace monopod::api
