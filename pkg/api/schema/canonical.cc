#include "api/schema/canonical.h"

#include <array>
#include <charconv>

#include "api/crd/settle.h"
#include "api/quantity/quantity.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::size_t kUnknownMax = 100;
constexpr std::size_t kFieldsMax = 96;  // of one type; schema_test holds the tables to it

std::string_view last_part(std::string_view dotted) { return dotted.substr(dotted.rfind('.') + 1); }

// "v1.PodSpec" of io.k8s.api.core.v1.PodSpec.
std::string_view go_object_name(const Type& type) {
  std::string_view name = type.name();
  std::size_t dot = name.rfind('.');
  return name.substr(name.rfind('.', dot - 1) + 1);
}

std::string go_element_name(const Field& field) {
  switch (field.kind()) {
    case FieldKind::kString: return "string";
    case FieldKind::kBytes: return "[]uint8";
    case FieldKind::kInt32: return "int32";
    case FieldKind::kInt64: return "int64";
    case FieldKind::kDouble: return "float64";
    case FieldKind::kBool: return "bool";
    case FieldKind::kObject: return std::string(go_object_name(*field.type()));
    case FieldKind::kQuantity: return "resource.Quantity";
    case FieldKind::kTime: return "v1.Time";
    case FieldKind::kMicroTime: return "v1.MicroTime";
    case FieldKind::kIntOrString: return "intstr.IntOrString";
    case FieldKind::kStringList: return "v1.ExtraValue";
    default: return "interface {}";
  }
}

std::string_view json_type_name(const json::Value& v) {
  switch (v.kind()) {
    case boost::json::kind::string: return "string";
    case boost::json::kind::bool_: return "bool";
    case boost::json::kind::object: return "object";
    case boost::json::kind::array: return "array";
    case boost::json::kind::null: return "null";
    default: return "number";
  }
}

std::string number_text(const json::Value& v) {
  if (v.is_double()) {
    char text[64];
    auto [end, ec] = std::to_chars(text, text + sizeof text, v.get_double());
    return std::string(text, end);
  }
  return json::format(v);
}

bool is_zero(const json::Value& v) {
  switch (v.kind()) {
    case boost::json::kind::null: return true;
    case boost::json::kind::bool_: return !v.get_bool();
    case boost::json::kind::int64: return v.get_int64() == 0;
    case boost::json::kind::uint64: return v.get_uint64() == 0;
    case boost::json::kind::double_: return v.get_double() == 0;
    case boost::json::kind::string: return v.get_string().empty();
    case boost::json::kind::array: return v.get_array().empty();
    case boost::json::kind::object: return v.get_object().empty();
  }
  return false;
}

// True for text that already is a metav1.Time in UTC: 2026-01-02T03:04:05Z.
bool is_plain_time(std::string_view t) {
  constexpr std::string_view kForm = "0000-00-00T00:00:00Z";
  if (t.size() != kForm.size()) return false;
  for (std::size_t i = 0; i < t.size(); ++i)
    if (kForm[i] == '0' ? t[i] < '0' || t[i] > '9' : t[i] != kForm[i]) return false;
  return true;
}

class Walk {
 public:
  explicit Walk(const CanonicalOptions& options) : options_(options) {}

  Result<> object(json::Value& value, const Type& type) {
    if (!value.is_object()) return wrong_type(value, std::string(go_object_name(type)));
    const Type* outer = type_;
    type_ = &type;
    auto fields = type.fields();
    std::array<json::Value*, kFieldsMax> slots;
    std::fill_n(slots.begin(), fields.size(), nullptr);
    json::Object& in = value.get_object();
    std::size_t count = 0;
    std::ptrdiff_t last = -1;
    bool sorted = true;  // as a canonical object is
    for (auto& member : in) {
      const Field* field = type.find(member.key());
      if (field == nullptr) {
        unknown(member.key());
        sorted = false;
      } else if (!member.value().is_null()) {
        std::ptrdiff_t index = field - fields.data();
        sorted = sorted && index > last;
        last = index;
        slots[static_cast<std::size_t>(index)] = &member.value();
        ++count;
      } else {
        sorted = false;
      }
    }
    if (sorted && complete(fields, slots.data())) {
      bool kept = true;
      for (std::size_t i = 0; i < fields.size() && kept; ++i) {
        if (slots[i] == nullptr) continue;
        Enter enter(*this, fields[i].name());
        TRY(shaped(fields[i], *slots[i]));
        kept = keeps(fields[i], *slots[i]);
      }
      if (kept) {
        type_ = outer;
        return {};
      }
    }
    json::Object out(value.storage());
    out.reserve(count + 2);
    for (std::size_t i = 0; i < fields.size(); ++i) TRY(member(fields[i], slots[i], out));
    value = std::move(out);
    type_ = outer;
    return {};
  }

 private:
  struct Step {
    std::string_view name;
    std::size_t index;
    const Step* up;
  };
  class Enter {
   public:
    Enter(Walk& walk, std::string_view name, std::size_t index = 0) : walk_(walk), step_{name, index, walk.at_} { walk.at_ = &step_; }
    ~Enter() { walk_.at_ = step_.up; }
    Enter(const Enter&) = delete;
    Enter& operator=(const Enter&) = delete;

   private:
    Walk& walk_;
    Step step_;
  };

  bool keeps(const Field& field, const json::Value& value) const {
    bool single = field.shape() == Shape::kSingle;
    return options_.keep_zero || (single && value.is_object()) || field.required() || !is_zero(value) || (field.nullable() && single);
  }

  // Nothing that is missing would have to be written.
  bool complete(std::span<const Field> fields, json::Value* const* slots) const {
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (slots[i] != nullptr) continue;
      const Field& field = fields[i];
      if (options_.defaults && !field.default_value().empty()) return false;
      if (options_.add_required && (field.always() || field.required())) return false;
    }
    return true;
  }

  Result<> member(const Field& field, json::Value* value, json::Object& out) {
    Enter enter(*this, field.name());
    if (value != nullptr) {
      TRY(shaped(field, *value));
      if (keeps(field, *value)) {
        out.emplace(field.name(), std::move(*value));
        return {};
      }
    }
    if (options_.defaults && !field.default_value().empty()) return set_default(field, out);
    if (!options_.add_required) return {};
    bool time = field.kind() == FieldKind::kTime || field.kind() == FieldKind::kMicroTime;
    if (time && field.shape() == Shape::kSingle && (field.always() || field.required())) {
      out.emplace(field.name(), nullptr);  // as Go writes a time that is no pointer
    } else if (field.always()) {
      json::Value empty(json::Object{});
      TRY(object(empty, *field.type()));
      out.emplace(field.name(), std::move(empty));
    } else if (field.required() && field.shape() == Shape::kSingle) {
      switch (field.kind()) {
        case FieldKind::kString: out.emplace(field.name(), ""); break;
        case FieldKind::kInt32:
        case FieldKind::kInt64: out.emplace(field.name(), 0); break;
        case FieldKind::kBool: out.emplace(field.name(), false); break;
        default: break;
      }
    }
    return {};
  }

  Result<> set_default(const Field& field, json::Object& out) {
    std::string_view text = field.default_value();
    json::Value value(nullptr);
    if (text.starts_with('"')) value = text.substr(1, text.size() - 2);
    else if (text == "{}") value.emplace_object();
    else if (text == "true" || text == "false") value = text == "true";
    else value = parse_int<std::int64_t>(text).value_or(0);
    if (value.is_object() && field.type() != nullptr) TRY(object(value, *field.type()));
    out.emplace(field.name(), std::move(value));
    return {};
  }

  Result<> shaped(const Field& field, json::Value& value) {
    switch (field.shape()) {
      case Shape::kSingle: return single(field, value);
      case Shape::kList: {
        if (!value.is_array()) return wrong_type(value, go_type_name(field));
        json::Array& items = value.get_array();
        for (std::size_t i = 0; i < items.size(); ++i) {
          Enter enter(*this, {}, i);
          if (items[i].is_null()) zero(field, items[i]);
          TRY(single(field, items[i]));
        }
        return {};
      }
      case Shape::kMap: return map(field, value);
    }
    return {};
  }

  Result<> map(const Field& field, json::Value& value) {
    if (!value.is_object()) return wrong_type(value, go_type_name(field));
    json::Object& in = value.get_object();
    bool sorted = true;
    std::string_view last;
    for (auto& member : in) {
      std::string_view key = member.key();
      sorted = sorted && last <= key;
      last = key;
      Enter enter(*this, key);
      if (member.value().is_null()) zero(field, member.value());
      TRY(single(field, member.value()));
    }
    if (sorted) return {};
    std::vector<json::Object::iterator> order;
    order.reserve(in.size());
    for (auto it = in.begin(); it != in.end(); ++it) order.push_back(it);
    std::ranges::sort(order, {}, [](const auto& it) { return std::string_view(it->key()); });
    json::Object out(value.storage());
    out.reserve(in.size());
    for (auto& it : order) out.emplace(it->key(), std::move(it->value()));
    value = std::move(out);
    return {};
  }

  static void zero(const Field& field, json::Value& value) {
    switch (field.kind()) {
      case FieldKind::kString:
      case FieldKind::kBytes: value = ""; break;
      case FieldKind::kInt32:
      case FieldKind::kInt64: value = 0; break;
      case FieldKind::kBool: value = false; break;
      case FieldKind::kObject: value.emplace_object(); break;
      case FieldKind::kQuantity: value = "0"; break;
      case FieldKind::kStringList: value.emplace_array(); break;
      default: break;
    }
  }

  Result<> single(const Field& field, json::Value& value) {
    switch (field.kind()) {
      case FieldKind::kString:
        if (!value.is_string()) return wrong_type(value, "string");
        return {};
      case FieldKind::kBytes: return bytes(value);
      case FieldKind::kInt32: return integer(value, INT32_MIN, INT32_MAX, "int32");
      case FieldKind::kInt64: return integer(value, INT64_MIN, INT64_MAX, "int64");
      case FieldKind::kDouble:
        if (!value.is_number()) return wrong_type(value, "float64");
        return {};
      case FieldKind::kBool:
        if (!value.is_bool()) return wrong_type(value, "bool");
        return {};
      case FieldKind::kObject: return object(value, *field.type());
      case FieldKind::kQuantity: return quantity(value);
      case FieldKind::kTime: return time(value, false);
      case FieldKind::kMicroTime: return time(value, true);
      case FieldKind::kIntOrString:
        if (value.is_string()) return {};
        if (!value.is_number()) return wrong_type(value, "int32");
        return integer(value, INT32_MIN, INT32_MAX, "int32");
      case FieldKind::kStringList: {
        if (!value.is_array()) return wrong_type(value, "v1.ExtraValue");
        for (json::Value& item : value.get_array())
          if (!item.is_string()) return wrong_type(item, "string");
        return {};
      }
      case FieldKind::kSchemaOrArray:
        if (value.is_array()) {
          for (json::Value& item : value.get_array()) TRY(object(item, *field.type()));
          return {};
        }
        return object(value, *field.type());
      case FieldKind::kSchemaOrBool:
        if (value.is_bool()) return {};
        return object(value, *field.type());
      case FieldKind::kSchemaOrStringArray:
        if (value.is_array()) return {};
        return object(value, *field.type());
      case FieldKind::kRawObject:
      case FieldKind::kFieldsV1:
      case FieldKind::kAny: return {};
    }
    return {};
  }

  Result<> integer(json::Value& value, std::int64_t least, std::int64_t most, std::string_view go_name) {
    if (!value.is_number()) return wrong_type(value, std::string(go_name));
    if (value.is_int64() && value.get_int64() >= least && value.get_int64() <= most) return {};
    if (value.is_uint64() && value.get_uint64() <= static_cast<std::uint64_t>(most)) {
      value = static_cast<std::int64_t>(value.get_uint64());
      return {};
    }
    return wrong("number " + number_text(value), std::string(go_name));
  }

  Result<> bytes(json::Value& value) {
    if (!value.is_string()) return wrong_type(value, "[]uint8");
    std::string_view text = value.get_string();
    if (auto raw = parse_base64(text)) return {};
    std::string cleaned;  // Go skips line breaks
    for (char c : text)
      if (c != '\n' && c != '\r') cleaned += c;
    if (!parse_base64(cleaned)) {
      constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
      std::size_t bad = text.find_first_not_of(kAlphabet);
      return fail(Code::kInvalidArgument, cat("illegal base64 data at input byte ", bad == std::string_view::npos ? text.size() : bad));
    }
    value = cleaned;
    return {};
  }

  Result<> quantity(json::Value& value) {
    std::string text;
    if (value.is_string()) {
      std::string_view given = value.get_string();
      text = std::string(trim(given));
    } else if (value.is_number()) {
      text = number_text(value);
    } else {
      text = json::format(value);
    }
    TRY_ASSIGN(Quantity q, parse_quantity(text));
    value = q.text();
    return {};
  }

  Result<> time(json::Value& value, bool micro) {
    if (!value.is_string()) return wrong("" + std::string(json_type_name(value)), "string");
    std::string_view text = value.get_string();
    if (!micro && is_plain_time(text) && parse_rfc3339(text)) return {};
    auto parsed = parse_rfc3339(text);
    if (!parsed)
      return fail(Code::kInvalidArgument, cat("parsing time \"", text, "\" as \"", micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00",
                                              "\": cannot parse \"", text, "\" as \"2006\""));
    value = micro ? format_rfc3339_micro(*parsed) : format_rfc3339(*parsed);
    return {};
  }

  std::unexpected<Error> wrong_type(const json::Value& value, std::string go_name) {
    return wrong(std::string(json_type_name(value)), go_name);
  }
  std::unexpected<Error> wrong(const std::string& what, const std::string& go_name) {
    if (at_ == nullptr) return fail(Code::kInvalidArgument, cat("json: cannot unmarshal ", what, " into Go value of type ", go_name));
    std::vector<std::string> names;
    for (const Step* s = at_; s != nullptr; s = s->up)
      if (!s->name.empty()) names.emplace_back(s->name);
    std::ranges::reverse(names);
    return fail(Code::kInvalidArgument, cat("json: cannot unmarshal ", what, " into Go struct field ", last_part(type_->name()), ".",
                                            join(names, "."), " of type ", go_name));
  }

  void unknown(std::string_view name) {
    if (options_.unknown == nullptr || options_.unknown->size() >= kUnknownMax) return;
    std::vector<const Step*> steps;
    for (const Step* s = at_; s != nullptr; s = s->up) steps.push_back(s);
    std::string path;
    for (auto it = steps.rbegin(); it != steps.rend(); ++it) {
      if ((*it)->name.empty()) path += cat("[", (*it)->index, "]");
      else path += path.empty() ? std::string((*it)->name) : cat(".", (*it)->name);
    }
    options_.unknown->push_back(path.empty() ? std::string(name) : cat(path, ".", name));
  }

  const CanonicalOptions& options_;
  const Step* at_ = nullptr;
  const Type* type_ = nullptr;
};

}  // namespace

namespace {

bool deeper_than(const json::Value& tree, int levels) {
  if (!tree.is_structured()) return false;
  if (levels == 0) return true;
  if (const json::Object* o = tree.if_object())
    return std::ranges::any_of(*o, [&](auto& m) { return deeper_than(m.value(), levels - 1); });
  return std::ranges::any_of(tree.get_array(), [&](const json::Value& item) { return deeper_than(item, levels - 1); });
}

}  // namespace

Result<> check_depth(const json::Value& tree) {
  if (deeper_than(tree, kTreeDepthMax)) return fail(Code::kInvalidArgument, cat("json: exceeded max depth of ", kTreeDepthMax));
  return {};
}

bool same_tree(const json::Value& a, const json::Value& b) {
  const json::Object *x = a.if_object(), *y = b.if_object();
  if (x != nullptr && y != nullptr) {
    if (x->size() != y->size()) return false;
    auto other = y->begin();
    for (auto& m : *x) {
      bool in_order = m.key() == other->key();
      const json::Value* value = in_order ? &other->value() : y->if_contains(m.key());
      if (value == nullptr || !same_tree(m.value(), *value)) return false;
      ++other;
    }
    return true;
  }
  const json::Array *l = a.if_array(), *r = b.if_array();
  return l != nullptr && r != nullptr ? std::ranges::equal(*l, *r, same_tree) : a == b;
}

std::string go_type_name(const Field& field) {
  switch (field.shape()) {
    case Shape::kList: return "[]" + go_element_name(field);
    case Shape::kMap: return "map[string]" + go_element_name(field);
    default: return go_element_name(field);
  }
}

Result<> canonicalize_tree(json::Value& tree, const Type& type, const CanonicalOptions& options) {
  if (const crd::CustomType* custom = type.custom()) return crd::settle_tree(tree, *custom, options);
  return Walk(options).object(tree, type);
}

}  // namespace monopod::api
