#include "etcd/gateway/transcode.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/bytes.h"
#include "base/strings.h"
#include "codec/json.h"
#include "codec/proto_wire.h"

namespace monopod::etcd {
namespace {

using schema::Field;
using schema::Type;

constexpr std::string_view kSpace = " \t\r\n";

std::unexpected<Error> bad(const Field& field, std::string_view want) {
  return fail(Code::kInvalidArgument, cat("field \"", field.name, "\": want ", want));
}

// Is name the camel case of a declared one? "rangeEnd" of "range_end".
bool is_camel_case_of(std::string_view name, std::string_view declared) {
  std::size_t at = 0;
  bool upper = false;
  for (char c : declared) {
    if (c == '_') {
      upper = true;
      continue;
    }
    if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    upper = false;
    if (at == name.size() || name[at++] != c) return false;
  }
  return at == name.size();
}

const Field* find_field(const schema::Message& type, std::string_view name) {
  for (const Field& field : type.fields)
    if (field.name == name || is_camel_case_of(name, field.name)) return &field;
  return nullptr;
}

// --- JSON to wire

template <typename T>
Result<T> parse_number(const json::Value& value, const Field& field) {
  std::optional<T> number;
  if (const auto* text = value.if_string()) number = parse_int<T>(std::string_view(*text));
  else if (const auto* n = value.if_int64(); n != nullptr && std::in_range<T>(*n)) number = static_cast<T>(*n);
  else if (const auto* u = value.if_uint64(); u != nullptr && std::in_range<T>(*u)) number = static_cast<T>(*u);
  if (!number) return bad(field, cat("an integer between ", std::numeric_limits<T>::min(), " and ", std::numeric_limits<T>::max()));
  return *number;
}

Result<std::string> parse_bytes(const json::Value& value, const Field& field) {
  const auto* text = value.if_string();
  if (text == nullptr) return bad(field, "bytes in base64");
  std::string standard(*text);
  std::ranges::replace(standard, '-', '+');
  std::ranges::replace(standard, '_', '/');
  while (!standard.empty() && standard.back() == '=') standard.pop_back();
  while (standard.size() % 4 != 0) standard += '=';
  std::optional<std::string> bytes = parse_base64(standard);
  if (!bytes) return bad(field, "bytes in base64");
  return std::move(*bytes);
}

Result<std::int64_t> parse_enum(const json::Value& value, const Field& field) {
  const auto* text = value.if_string();
  if (text == nullptr) return parse_number<std::int32_t>(value, field);
  for (const schema::EnumValue& known : schema::find_enum(field.of)->values)
    if (known.name == std::string_view(*text)) return known.number;
  return fail(Code::kInvalidArgument, cat("unknown value \"", std::string_view(*text), "\" for enum ", field.of));
}

Result<std::string> encode_message(const json::Value& value, const schema::Message& type);

// explicit_default: an element of a list or a member of a union is there even if it has its default value.
Result<> encode_one(ProtoWriter& out, const json::Value& value, const Field& field) {
  bool explicit_default = field.repeated || !field.oneof.empty();
  std::uint64_t number = 0;
  switch (field.type) {
    case Type::kMessage: {
      TRY_ASSIGN(std::string inner, encode_message(value, *schema::find_message(field.of)));
      out.message(field.number, inner);
      return {};
    }
    case Type::kBytes: {
      TRY_ASSIGN(std::string bytes, parse_bytes(value, field));
      if (explicit_default || !bytes.empty()) out.message(field.number, bytes);
      return {};
    }
    case Type::kString: {
      const auto* text = value.if_string();
      if (text == nullptr) return bad(field, "a string");
      if (explicit_default || !text->empty()) out.message(field.number, *text);
      return {};
    }
    case Type::kBool: {
      const bool* flag = value.if_bool();
      if (flag == nullptr) return bad(field, "true or false");
      number = *flag ? 1 : 0;
      break;
    }
    case Type::kInt64: {
      TRY_ASSIGN(std::int64_t n, parse_number<std::int64_t>(value, field));
      number = static_cast<std::uint64_t>(n);
      break;
    }
    case Type::kUint64: {
      TRY_ASSIGN(number, parse_number<std::uint64_t>(value, field));
      break;
    }
    case Type::kUint32: {
      TRY_ASSIGN(number, parse_number<std::uint32_t>(value, field));
      break;
    }
    case Type::kEnum: {
      TRY_ASSIGN(std::int64_t n, parse_enum(value, field));
      number = static_cast<std::uint64_t>(n);
      break;
    }
  }
  if (explicit_default) out.varint_field(field.number, number);
  else out.unsigned_integer(field.number, number);
  return {};
}

Result<> encode_field(ProtoWriter& out, const json::Value& value, const Field& field) {
  if (!field.repeated) return encode_one(out, value, field);
  const json::Array* array = value.if_array();
  if (array == nullptr) return bad(field, "a list");
  for (const json::Value& element : *array) TRY(encode_one(out, element, field));
  return {};
}

Result<std::string> encode_message(const json::Value& value, const schema::Message& type) {
  const json::Object* object = value.if_object();
  if (object == nullptr) return fail(Code::kInvalidArgument, cat("want an object of type ", type.name));
  ProtoWriter out;
  std::vector<const Field*> seen;
  for (const auto& member : *object) {
    const Field* field = find_field(type, member.key());
    if (field == nullptr || member.value().is_null()) continue;
    for (const Field* other : seen) {
      if (other == field) return fail(Code::kInvalidArgument, cat("field \"", field->name, "\" is given twice"));
      if (!field->oneof.empty() && other->oneof == field->oneof)
        return fail(Code::kInvalidArgument, cat("fields \"", other->name, "\" and \"", field->name, "\" exclude each other"));
    }
    seen.push_back(field);
    TRY(encode_field(out, member.value(), *field));
  }
  return out.take();
}

// --- wire to JSON

void append_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += cat("\\u00", kHex[byte >> 4U], kHex[byte & 15U]);
    } else {
      out += c;
    }
  }
  out += '"';
}

struct Part {
  const Field* field;
  std::uint64_t number;
  std::string_view bytes;
};

// Said, and yet nothing that JSON would tell.
bool is_default(const Part& part) {
  switch (part.field->type) {
    case Type::kMessage: return false;
    case Type::kBytes:
    case Type::kString: return part.field->oneof.empty() && part.bytes.empty();
    case Type::kUint32:
    case Type::kEnum: return part.field->oneof.empty() && static_cast<std::uint32_t>(part.number) == 0;
    default: return part.field->oneof.empty() && part.number == 0;
  }
}

Result<> append_message(std::string& out, std::string_view bytes, const schema::Message& type, std::size_t depth);

Result<> append_value(std::string& out, const Part& part, std::size_t depth) {
  switch (part.field->type) {
    case Type::kMessage: return append_message(out, part.bytes, *schema::find_message(part.field->of), depth + 1);
    case Type::kBytes: out += cat('"', format_base64(part.bytes), '"'); break;
    case Type::kString: append_string(out, part.bytes); break;
    case Type::kBool: out += part.number != 0 ? "true" : "false"; break;
    case Type::kInt64: out += cat('"', static_cast<std::int64_t>(part.number), '"'); break;
    case Type::kUint64: out += cat('"', part.number, '"'); break;
    case Type::kUint32: out += cat(static_cast<std::uint32_t>(part.number)); break;
    case Type::kEnum: {
      auto number = static_cast<std::int32_t>(part.number);
      for (const schema::EnumValue& known : schema::find_enum(part.field->of)->values)
        if (known.number == number) {
          append_string(out, known.name);
          return {};
        }
      out += cat(number);
      break;
    }
  }
  return {};
}

Result<std::vector<Part>> parts_of(std::string_view bytes, const schema::Message& type) {
  std::vector<Part> parts;
  ProtoReader reader(bytes);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    auto field = std::ranges::find(type.fields, reader.field(), &Field::number);
    if (field == type.fields.end()) continue;
    bool as_bytes = field->type == Type::kBytes || field->type == Type::kString || field->type == Type::kMessage;
    if (as_bytes != reader.is_bytes()) return fail(Code::kInvalidArgument, cat("malformed message: field \"", field->name, "\" of another type"));
    parts.push_back({field, static_cast<std::uint64_t>(reader.integer()), reader.bytes()});
  }
  std::ranges::stable_sort(parts, {}, [](const Part& part) { return part.field; });  // as declared, lists together
  return parts;
}

Result<> append_message(std::string& out, std::string_view bytes, const schema::Message& type, std::size_t depth) {
  if (depth > kJsonDepthMax) return fail(Code::kInvalidArgument, "malformed message: nested too deep");
  TRY_ASSIGN(std::vector<Part> parts, parts_of(bytes, type));
  out += '{';
  bool first = true;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Field& field = *parts[i].field;
    bool again = i + 1 < parts.size() && parts[i + 1].field == &field;
    if (!field.repeated && (again || is_default(parts[i]))) continue;  // of several the last one counts
    if (!std::exchange(first, false)) out += ',';
    out += cat('"', field.name, "\":");
    if (!field.repeated) {
      TRY(append_value(out, parts[i], depth));
      continue;
    }
    out += '[';
    for (;; ++i) {
      TRY(append_value(out, parts[i], depth));
      if (i + 1 == parts.size() || parts[i + 1].field != &field) break;
      out += ',';
    }
    out += ']';
  }
  out += '}';
  return {};
}

}  // namespace

Result<std::string> json_to_wire(std::string_view text, const schema::Message& type) {
  if (trim(text).empty()) return std::string();
  TRY_ASSIGN(json::Value value, json::parse(text, {.depth_max = kJsonDepthMax}));
  return encode_message(value, type);
}

Result<std::string> wire_to_json(std::string_view bytes, const schema::Message& type) {
  std::string out;
  TRY(append_message(out, bytes, type, 0));
  return out;
}

bool JsonSplitter::empty() const { return buffer_.find_first_not_of(kSpace) == std::string::npos; }

Result<bool> JsonSplitter::next(std::string& value) {
  if (depth_ == 0) {
    buffer_.erase(0, std::min(buffer_.find_first_not_of(kSpace), buffer_.size()));
    scanned_ = 0;
    if (buffer_.empty()) return false;
    if (buffer_.front() != '{') return fail(Code::kInvalidArgument, "json: want an object");
  }
  for (; scanned_ < buffer_.size(); ++scanned_) {
    char c = buffer_[scanned_];
    if (in_string_) {
      if (escaped_) escaped_ = false;
      else if (c == '\\') escaped_ = true;
      else if (c == '"') in_string_ = false;
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && --depth_ == 0) {
      value = buffer_.substr(0, scanned_ + 1);
      buffer_.erase(0, scanned_ + 1);
      return true;
    }
  }
  return false;
}

}  // namespace monopod::etcd
