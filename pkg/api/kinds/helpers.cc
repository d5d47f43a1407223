#include <algorithm>

#include "api/kinds/behaviors.h"
#include "base/strings.h"

namespace monopod::api::kinds {

const Array& items(const Value& object, std::string_view member) {
  static const Array kNone;
  const Value* v = child(object, member);
  return v != nullptr && v->is_array() ? v->get_array() : kNone;
}

Array& mutable_items(Value& object, std::string_view member) {
  if (!object.is_object()) object.emplace_object();
  Value& v = object.get_object()[member];
  return v.is_array() ? v.get_array() : v.emplace_array();
}

const Value* child(const Value& object, std::string_view member) {
  const Object* o = object.if_object();
  return o == nullptr ? nullptr : o->if_contains(member);
}
Value* mutable_child(Value& object, std::string_view member) { return const_cast<Value*>(child(object, member)); }

std::string_view text(const Value& object, std::string_view member) {
  const Value* v = child(object, member);
  if (v == nullptr || !v->is_string()) return {};
  return v->get_string();
}

void set_missing(Value& object, std::string_view member, Value value) {
  if (!object.is_object()) return;
  Value& v = object.get_object()[member];
  if (v.is_null() || (v.is_string() && v.get_string().empty())) v = std::move(value);
}

void report(FieldErrors& errors, const Path& path, std::string_view value, const Messages& messages) {
  for (const std::string& m : messages) errors.invalid(path, value, m);
}

void check_nonnegative(FieldErrors& errors, const Path& path, const Value* number) {
  if (number != nullptr && number->is_int64() && number->get_int64() < 0) errors.invalid(path, *number, "must be greater than or equal to 0");
}

void check_immutable(FieldErrors& errors, const Path& path, const Value& now, const Value& old, std::string_view member) {
  const Value *a = child(now, member), *b = child(old, member);
  bool equal = a == nullptr || b == nullptr ? a == b : *a == *b;
  if (!equal) errors.invalid(path[member], a == nullptr ? Value(nullptr) : *a, "field is immutable");
}

void check_supported(FieldErrors& errors, const Path& path, const Value& object, std::string_view member, std::initializer_list<std::string_view> values) {
  const Value* v = child(object, member);
  if (v == nullptr || !v->is_string() || v->get_string().empty()) return;
  if (std::ranges::find(values, std::string_view(v->get_string())) == values.end()) errors.not_supported(path[member], *v, values);
}

void check_labels(FieldErrors& errors, const Path& path, const Value* labels) {
  if (labels == nullptr || !labels->is_object()) return;
  for (auto& m : labels->get_object()) {
    report(errors, path, m.key(), check_qualified_name(m.key()));
    if (m.value().is_string()) report(errors, path, m.value().get_string(), check_label_value(m.value().get_string()));
  }
}

void check_label_selector(FieldErrors& errors, const Path& path, const Value& selector) {
  check_labels(errors, path["matchLabels"], child(selector, "matchLabels"));
  const Array& expressions = items(selector, "matchExpressions");
  for (std::size_t i = 0; i < expressions.size(); ++i) {
    Path at = path["matchExpressions"][i];
    std::string_view op = text(expressions[i], "operator");
    bool values = !items(expressions[i], "values").empty();
    if ((op == "In" || op == "NotIn") && !values) errors.required(at["values"], "must be specified when `operator` is 'In' or 'NotIn'");
    else if ((op == "Exists" || op == "DoesNotExist") && values) errors.forbidden(at["values"], "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    else if (op != "In" && op != "NotIn" && op != "Exists" && op != "DoesNotExist") errors.invalid(at["operator"], op, "not a valid selector operator");
    report(errors, at["key"], text(expressions[i], "key"), check_qualified_name(text(expressions[i], "key")));
  }
}

void check_int_or_percent(FieldErrors& errors, const Path& path, const Value* value) {
  if (value == nullptr) return;
  if (value->is_string()) {
    std::string_view t = value->get_string();
    bool percent = t.size() > 1 && t.ends_with('%') && parse_int<std::uint32_t>(t.substr(0, t.size() - 1)).has_value();
    if (!percent) errors.invalid(path, *value, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')");
    return;
  }
  check_nonnegative(errors, path, value);
}

}  // namespace monopod::api::kinds
