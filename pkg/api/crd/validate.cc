#include "api/crd/validate.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "api/crd/formats.h"
#include "api/crd/limits.h"
#include "api/kinds/names.h"
#include "base/strings.h"

namespace monopod::api::crd {
namespace {

std::string_view go_type(const json::Value& v) {
  switch (v.kind()) {
    case boost::json::kind::null: return "null";
    case boost::json::kind::bool_: return "boolean";
    case boost::json::kind::int64:
    case boost::json::kind::uint64: return "integer";
    case boost::json::kind::double_: return "number";
    case boost::json::kind::string: return "string";
    case boost::json::kind::array: return "array";
    case boost::json::kind::object: return "object";
  }
  return {};
}

bool is_whole(const json::Value& v) {
  return v.is_int64() || v.is_uint64() || (v.is_double() && v.get_double() == std::trunc(v.get_double()));
}

bool has_type(const json::Value& v, SchemaType type) {
  switch (type) {
    case SchemaType::kAny: return true;
    case SchemaType::kObject: return v.is_object();
    case SchemaType::kArray: return v.is_array();
    case SchemaType::kString: return v.is_string();
    case SchemaType::kInteger: return v.is_number() && is_whole(v);
    case SchemaType::kNumber: return v.is_number();
    case SchemaType::kBoolean: return v.is_bool();
  }
  return false;
}

// As Go's %v prints a float64.
std::string number_text(double d) {
  if (d == std::trunc(d) && std::abs(d) < 1e15) return cat(static_cast<std::int64_t>(d));
  char text[40];
  auto [end, ec] = std::to_chars(text, text + sizeof text, d);
  return ec == std::errc() ? std::string(text, end) : std::string("NaN");
}

std::size_t count_runes(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

class Validator {
 public:
  explicit Validator(FieldErrors& errors) : errors_(errors) {}

  void root(const json::Value& object, const json::Value* old, const Schema& schema) {
    defaulted_ = true;
    value(object, old, schema, Path(), Place::kRoot);
    if (budget_.spent) errors_.invalid(Path("spec"), "", "this object takes too long to validate by its schema");
  }
  void value(const json::Value& v, const json::Value* old, const Schema& schema, const Path& path) { value(v, old, schema, path, Place::kInside); }

 private:
  enum class Place { kRoot, kInside };

  // Looking at a value costs about what some steps of a pattern do.
  bool charge(std::size_t steps = 5) {
    if (budget_.steps < steps) budget_.spent = true;
    else budget_.steps -= steps;
    return !budget_.spent;
  }
  bool full() const { return errors_.errors().size() >= kErrorsMax; }

  void invalid(const Path& path, const json::Value& shown, std::string_view what) {
    std::string text = cat(path.text(), path.text().empty() ? "" : " ", "in body ", what);
    errors_.add({FieldReason::kInvalid, path.text(), cat("Invalid value: ", json::format(shown), ": ", text)});
  }

  void wrong_type(const json::Value& v, std::string_view wanted, const Path& path) {
    std::string_view found = go_type(v);
    std::string where = path.text().empty() ? std::string("<nil>") : path.text();
    errors_.add({FieldReason::kTypeInvalid, where, cat("Invalid value: \"", found, "\": ", path.text().empty() ? "" : path.text() + " ", "in body must be of type ", wanted, ": \"", found, "\"")});
  }

  void value(const json::Value& v, const json::Value* old, const Schema& schema, const Path& path, Place place) {
    if (full() || !charge()) return;
    if (old != nullptr && *old == v) return;
    if (v.is_null() && schema.nullable) return;
    if (schema.int_or_string) {
      if (!v.is_string() && !(v.is_number() && is_whole(v))) return wrong_type(v, "integer,string", path);
    } else if (!has_type(v, schema.type)) {
      return wrong_type(v, type_name(schema.type), path);
    }
    if (const json::Object* object = v.if_object()) members(*object, old, schema, path, place);
    else if (const json::Array* array = v.if_array()) items(*array, old, schema, path);
    if (schema.rules) rules(v, old, *schema.rules, path, place);
  }

  void members(const json::Object& object, const json::Value* old, const Schema& schema, const Path& path, Place place) {
    const json::Object* before = old == nullptr ? nullptr : old->if_object();
    if (schema.embedded) embedded(object, path);
    for (auto& m : object) {
      std::string_view name = m.key();
      const Schema* property = schema.property(name);
      if (place == Place::kRoot && name == "metadata") continue;  // ObjectMeta has rules of its own; a schema may restrict the name
      const Schema* below = property != nullptr ? property : schema.additional.get();
      if (below == nullptr) continue;
      const json::Value* was = before == nullptr ? nullptr : before->if_contains(name);
      value(m.value(), was, *below, path[name], Place::kInside);
    }
    if (defaulted_ && schema.has_defaults)
      for (auto& [name, property] : schema.properties)
        if (property->default_value != nullptr && !object.contains(name) && !full())
          errors_.required(path[name], cat("the defaults of this object are larger than ", kDefaultBytesMax, " bytes"));
    if (place == Place::kRoot) {
      const Schema* meta = schema.property("metadata");
      const json::Value* given = object.if_contains("metadata");
      if (meta != nullptr && given != nullptr && given->is_object()) name_rules(given->get_object(), before, *meta);
    }
  }

  // name and generateName are all that a schema may say of metadata.
  void name_rules(const json::Object& meta, const json::Object* before, const Schema& schema) {
    if (before != nullptr) return;
    for (const char* name : {"name", "generateName"}) {
      const Schema* rule = schema.property(name);
      const json::Value* v = meta.if_contains(name);
      if (rule != nullptr && v != nullptr) value(*v, nullptr, *rule, Path("metadata")[name], Place::kInside);
    }
  }

  void embedded(const json::Object& object, const Path& path) {
    for (const char* name : {"apiVersion", "kind"}) {
      const json::Value* v = object.if_contains(name);
      if (v == nullptr || (v->is_string() && v->get_string().empty())) errors_.required(path[name], "must not be empty");
      else if (!v->is_string()) errors_.add({FieldReason::kTypeInvalid, path[name].text(), cat("Invalid value: ", json::format(*v), ": must be a string")});
    }
    const json::Value* meta = object.if_contains("metadata");
    if (meta != nullptr && !meta->is_object()) errors_.add({FieldReason::kTypeInvalid, path["metadata"].text(), cat("Invalid value: ", json::format(*meta), ": must be an object")});
  }

  void items(const json::Array& array, const json::Value* old, const Schema& schema, const Path& path) {
    if (schema.items) {
      std::unordered_map<std::string, const json::Value*> before = items_by_keys(old, schema);
      for (std::size_t i = 0; i < array.size() && !full(); ++i) {
        auto was = before.empty() ? before.end() : before.find(json::format(json::Value(keys_of(array[i], schema))));
        value(array[i], was == before.end() ? nullptr : was->second, *schema.items, path[i], Place::kInside);
      }
    }
    if (schema.merge == MergeRule::kSet) set_items(array, path);
    if (schema.merge == MergeRule::kMap) map_items(array, schema, path);
  }

  static json::Object keys_of(const json::Value& item, const Schema& schema) {
    json::Object out;
    const json::Object* object = item.if_object();
    if (object == nullptr) return out;
    for (const std::string& key : schema.list_keys) {
      const Schema* property = schema.items ? schema.items->property(key) : nullptr;
      if (const json::Value* v = object->if_contains(key)) out[key] = *v;
      else if (property != nullptr && property->default_value != nullptr) out[key] = *property->default_value;
    }
    return out;
  }

  // What the items of a list with keys were before; items of other lists have no identity.
  static std::unordered_map<std::string, const json::Value*> items_by_keys(const json::Value* old, const Schema& schema) {
    std::unordered_map<std::string, const json::Value*> out;
    if (old == nullptr || !old->is_array() || schema.merge != MergeRule::kMap) return out;
    for (const json::Value& item : old->get_array()) out.emplace(json::format(json::Value(keys_of(item, schema))), &item);
    return out;
  }

  void set_items(const json::Array& array, const Path& path) {
    std::unordered_set<std::string> seen;
    for (std::size_t i = 0; i < array.size() && !full(); ++i)
      if (!seen.insert(json::format(array[i])).second) errors_.duplicate(path[i], array[i]);
  }

  void map_items(const json::Array& array, const Schema& schema, const Path& path) {
    std::unordered_set<std::string> seen;
    for (std::size_t i = 0; i < array.size() && !full(); ++i) {
      if (!array[i].is_object()) continue;
      json::Value keys = keys_of(array[i], schema);
      if (!seen.insert(json::format(keys)).second) errors_.duplicate(path[i], keys);
    }
  }

  void rules(const json::Value& v, const json::Value* old, const Rules& r, const Path& path, Place place) {
    if (!charge(r.enumeration.size() + r.required.size())) return;
    if ((r.has & Rules::kEnum) != 0 && std::ranges::find(r.enumeration, v) == r.enumeration.end()) not_in_enum(v, r, path);
    if (v.is_number()) number(v, r, path);
    if (v.is_string()) text(v.get_string(), r, path);
    if (const json::Array* array = v.if_array()) sizes(*array, v, r, path);
    if (const json::Object* object = v.if_object()) {
      for (const std::string& name : r.required)
        if (!object->contains(name)) errors_.required(path[name]);
      auto size = static_cast<std::int64_t>(object->size());
      if ((r.has & Rules::kMinProperties) != 0 && size < r.min_properties) invalid(path, size, cat("should have at least ", r.min_properties, " properties"));
      if ((r.has & Rules::kMaxProperties) != 0 && size > r.max_properties) errors_.too_many(path, object->size(), static_cast<std::size_t>(r.max_properties));
    }
    junctions(v, old, r, path, place);
  }

  void not_in_enum(const json::Value& v, const Rules& r, const Path& path) {
    std::vector<std::string> names;
    for (const json::Value& one : r.enumeration) names.push_back(one.is_string() ? json::format(one) : cat("\"", json::format(one), "\""));
    std::ranges::sort(names);
    errors_.add({FieldReason::kNotSupported, path.text(), cat("Unsupported value: ", json::format(v), ": supported values: ", join(names, ", "))});
  }

  void number(const json::Value& v, const Rules& r, const Path& path) {
    auto d = v.to_number<double>();
    bool below = (r.has & Rules::kExclusiveMinimum) != 0, above = (r.has & Rules::kExclusiveMaximum) != 0;
    if ((r.has & Rules::kMinimum) != 0 && (below ? d <= r.minimum : d < r.minimum))
      invalid(path, v, cat(below ? "should be greater than " : "should be greater than or equal to ", number_text(r.minimum)));
    if ((r.has & Rules::kMaximum) != 0 && (above ? d >= r.maximum : d > r.maximum))
      invalid(path, v, cat(above ? "should be less than " : "should be less than or equal to ", number_text(r.maximum)));
    if ((r.has & Rules::kMultipleOf) != 0 && r.multiple_of > 0) {
      double times = d / r.multiple_of;
      if (times != std::trunc(times)) invalid(path, v, cat("should be a multiple of ", number_text(r.multiple_of)));
    }
    if (r.format == "int32" && is_whole(v) && (d < -2147483648.0 || d > 2147483647.0)) invalid(path, v, "must be of type int32");
  }

  void text(std::string_view t, const Rules& r, const Path& path) {
    if ((r.has & Rules::kMaxLength) != 0 && count_runes(t) > static_cast<std::uint64_t>(r.max_length)) errors_.too_long(path, static_cast<std::size_t>(r.max_length));
    if ((r.has & Rules::kMinLength) != 0 && static_cast<std::int64_t>(count_runes(t)) < r.min_length) invalid(path, json::Value(t), cat("should be at least ", r.min_length, " chars long"));
    if (r.pattern && !r.pattern->matches(t, budget_) && !budget_.spent) invalid(path, json::Value(t), cat("should match '", r.pattern_text, "'"));
    if (!r.format.empty() && !has_format(t, r.format))
      errors_.add({FieldReason::kTypeInvalid, path.text(), cat("Invalid value: ", json::format(json::Value(t)), ": ", path.text(), " in body must be of type ", r.format, ": ", json::format(json::Value(t)))});
  }

  void sizes(const json::Array& array, const json::Value& v, const Rules& r, const Path& path) {
    auto size = static_cast<std::int64_t>(array.size());
    if ((r.has & Rules::kMinItems) != 0 && size < r.min_items) invalid(path, size, cat("should have at least ", r.min_items, " items"));
    if ((r.has & Rules::kMaxItems) != 0 && size > r.max_items) errors_.too_many(path, array.size(), static_cast<std::size_t>(r.max_items));
    if ((r.has & Rules::kUniqueItems) == 0) return;
    std::unordered_set<std::string> seen;
    for (const json::Value& item : array)
      if (!seen.insert(json::format(item)).second) return invalid(path, v, "shouldn't contain duplicates");
  }

  // Errors of one branch, on the side.
  std::size_t branch_errors(const json::Value& v, const Schema& schema, const Path& path, FieldErrors* found = nullptr) {
    FieldErrors aside;
    Validator inner(aside);
    inner.budget_ = budget_;
    inner.value(v, nullptr, schema, path, Place::kInside);
    budget_ = inner.budget_;
    std::size_t count = aside.errors().size();
    if (found != nullptr) *found = std::move(aside);
    return count;
  }

  // Upstream prints these with no path, and after what the branch that came closest lacks.
  void junction(const Path& path, std::string_view what) {
    errors_.add({FieldReason::kInvalid, "<nil>", cat("Invalid value: \"\": \"", path.text(), "\" ", what)});
  }

  void junctions(const json::Value& v, const json::Value* old, const Rules& r, const Path& path, Place place) {
    for (const SchemaPtr& branch : r.all_of) value(v, old, *branch, path, place);
    if (!r.any_of.empty()) {
      FieldErrors best;
      if (count_valid(v, r.any_of, path, best) == 0) {
        for (const FieldError& e : best.errors()) errors_.add(e);
        junction(path, "must validate at least one schema (anyOf)");
      }
    }
    if (!r.one_of.empty()) {
      FieldErrors best;
      std::size_t valid = count_valid(v, r.one_of, path, best);
      if (valid == 0)
        for (const FieldError& e : best.errors()) errors_.add(e);
      if (valid != 1) junction(path, cat("must validate one and only one schema (oneOf). ", valid == 0 ? "Found none valid" : cat("Found ", valid, " valid alternatives")));
    }
    if (r.none_of && branch_errors(v, *r.none_of, path) == 0) junction(path, "must not validate the schema (not)");
  }

  std::size_t count_valid(const json::Value& v, const std::vector<SchemaPtr>& branches, const Path& path, FieldErrors& best) {
    std::size_t valid = 0;
    bool first = true;
    for (const SchemaPtr& branch : branches) {
      FieldErrors found;
      if (branch_errors(v, *branch, path, &found) == 0) ++valid;
      else if (first || found.errors().size() < best.errors().size()) best = std::move(found);
      first = false;
      if (budget_.spent) break;
    }
    return valid;
  }

  FieldErrors& errors_;
  MatchBudget budget_{kPatternStepsMax};
  bool defaulted_ = false;  // a whole object: its defaults are set, where there was room
};

void check_scale_numbers(const json::Value& object, const CustomResource& resource, FieldErrors& errors) {
  if (!resource.scale) return;
  for (const auto* path : {&resource.scale->spec_replicas, &resource.scale->status_replicas}) {
    const json::Value* v = find_at(object, *path);
    if (v == nullptr) continue;
    Path at;
    for (const std::string& name : *path) at = at[name];
    if (!v->is_int64()) {
      errors.invalid(at, *v, "should be an integer");
    } else if (v->get_int64() < 0) {
      errors.invalid(at, *v, "should be a non-negative integer");
    } else if (v->get_int64() > INT32_MAX) {
      errors.invalid(at, *v, cat("should be less than or equal to ", INT32_MAX));
    }
  }
}

}  // namespace

void validate_object(const json::Value& object, const json::Value* old, const CustomResource& resource, FieldErrors& errors) {
  Validator(errors).root(object, old, *resource.type_row.schema);
  check_scale_numbers(object, resource, errors);
}

void validate_value(const json::Value& value, const Schema& schema, const Path& path, FieldErrors& errors) { Validator(errors).value(value, nullptr, schema, path); }

}  // namespace monopod::api::crd
