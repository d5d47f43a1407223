#include "cri/messages.h"

#include <algorithm>

#include "base/strings.h"
#include "base/utf8.h"
#include "codec/proto_wire.h"
#include "cri/limits.h"

namespace monopod::cri {
namespace {

bool is_text(Kind kind) { return kind == Kind::kString || kind == Kind::kBytes || kind == Kind::kMap || kind == Kind::kMessage; }

std::unexpected<Error> malformed(const Message& type, const Field& field, std::string_view why) {
  return fail(Code::kInvalidArgument, cat("malformed ", type.name, ".", field.name, ": ", why));
}

json::Value number_of(Kind kind, std::uint64_t n) {
  switch (kind) {
    case Kind::kBool: return n != 0;
    case Kind::kInt32:
    case Kind::kEnum: return static_cast<std::int32_t>(n);
    case Kind::kUint32: return static_cast<std::uint32_t>(n);
    case Kind::kUint64: return n;
    default: return static_cast<std::int64_t>(n);
  }
}

Result<> decode_into(json::Object& out, std::string_view bytes, const Message& type, std::size_t depth);

// An entry of map<string, string>: a message with key 1 and value 2.
Result<> decode_entry(json::Value& into, std::string_view bytes, const Message& type, const Field& field) {
  std::string_view parts[2];
  ProtoReader reader(bytes);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    if ((reader.field() == 1 || reader.field() == 2) && reader.is_bytes()) parts[reader.field() - 1] = reader.bytes();
  }
  if (!is_utf8(parts[0]) || !is_utf8(parts[1])) return malformed(type, field, "no UTF-8");
  if (!into.is_object()) into = json::Object{};
  into.get_object()[parts[0]] = parts[1];
  return {};
}

Result<> decode_text(json::Object& out, const ProtoReader& reader, const Message& type, const Field& field, std::size_t depth) {
  json::Value& slot = out[field.name];
  if (field.kind == Kind::kMap) return decode_entry(slot, reader.bytes(), type, field);
  if (field.repeated && !slot.is_array()) slot = json::Array{};
  json::Value& into = field.repeated ? slot.get_array().emplace_back(nullptr) : slot;
  if (field.kind == Kind::kMessage) {
    if (!into.is_object()) into = json::Object{};  // of several the parts are merged
    return decode_into(into.get_object(), reader.bytes(), *field.message, depth + 1);
  }
  if (field.kind == Kind::kString && !is_utf8(reader.bytes())) return malformed(type, field, "no UTF-8");
  into = reader.bytes();
  return {};
}

// One, or in a list several packed into bytes.
Result<> decode_numbers(json::Object& out, const ProtoReader& reader, const Message& type, const Field& field) {
  if (!field.repeated) {
    if (reader.is_bytes()) return malformed(type, field, "another type");
    out[field.name] = number_of(field.kind, static_cast<std::uint64_t>(reader.integer()));
    return {};
  }
  json::Value& slot = out[field.name];
  if (!slot.is_array()) slot = json::Array{};
  if (!reader.is_bytes()) {
    slot.get_array().push_back(number_of(field.kind, static_cast<std::uint64_t>(reader.integer())));
    return {};
  }
  for (std::string_view rest = reader.bytes(); !rest.empty();) {
    TRY_ASSIGN(std::uint64_t n, read_varint(rest));
    slot.get_array().push_back(number_of(field.kind, n));
  }
  return {};
}

Result<> decode_into(json::Object& out, std::string_view bytes, const Message& type, std::size_t depth) {
  if (depth > kMessageDepthMax) return fail(Code::kInvalidArgument, cat("malformed ", type.name, ": nested too deep"));
  ProtoReader reader(bytes);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return {};
    auto field = std::ranges::find(type.fields, reader.field(), &Field::number);
    if (field == type.fields.end()) continue;
    if (is_text(field->kind)) {
      if (!reader.is_bytes()) return malformed(type, *field, "another type");
      TRY(decode_text(out, reader, type, *field, depth));
    } else {
      TRY(decode_numbers(out, reader, type, *field));
    }
  }
}

std::optional<std::uint64_t> integer_of(const json::Value& value) {
  if (value.is_bool()) return value.get_bool() ? 1 : 0;
  if (value.is_int64()) return static_cast<std::uint64_t>(value.get_int64());
  if (value.is_uint64()) return value.get_uint64();
  return std::nullopt;
}

void encode_one(ProtoWriter& out, const json::Value& value, const Field& field) {
  if (field.kind == Kind::kMessage) {
    if (value.is_object()) out.message(field.number, encode_message(value, *field.message));
  } else if (is_text(field.kind)) {
    if (value.is_string() && field.repeated) out.message(field.number, value.get_string());
    else if (value.is_string()) out.bytes(field.number, value.get_string());
  } else if (auto n = integer_of(value)) {
    if (field.repeated) out.varint_field(field.number, *n);
    else out.unsigned_integer(field.number, *n);
  }
}

}  // namespace

Result<json::Value> decode_message(std::string_view bytes, const Message& type) {
  json::Object out;
  TRY(decode_into(out, bytes, type, 1));
  return json::Value(std::move(out));
}

std::string encode_message(const json::Value& value, const Message& type) {
  ProtoWriter out;
  for (const Field& field : type.fields) {
    const json::Value* member = json::find(value, {field.name});
    if (member == nullptr) continue;
    if (field.kind == Kind::kMap && member->is_object()) {
      for (const auto& entry : member->get_object())
        if (entry.value().is_string()) out.message(field.number, ProtoWriter().bytes(1, entry.key()).bytes(2, entry.value().get_string()).str());
    } else if (field.repeated && member->is_array()) {
      for (const json::Value& element : member->get_array()) encode_one(out, element, field);
    } else if (!field.repeated) {
      encode_one(out, *member, field);
    }
  }
  return out.take();
}

std::unexpected<Error> refuse(Code code, std::initializer_list<std::string_view> parts) {
  std::string text;
  for (std::string_view part : parts) text += part;
  return fail(code, std::move(text));
}

std::vector<std::string> strings_of(const json::Value& root, std::initializer_list<std::string_view> path) {
  std::vector<std::string> out;
  if (const json::Array* list = json::get_array(root, path))
    for (const json::Value& v : *list)
      if (v.is_string()) out.emplace_back(v.get_string());
  return out;
}

std::map<std::string, std::string> map_of(const json::Value& root, std::initializer_list<std::string_view> path) {
  std::map<std::string, std::string> out;
  if (const json::Object* object = json::get_object(root, path))
    for (const auto& entry : *object)
      if (entry.value().is_string()) out[std::string(entry.key())] = entry.value().get_string();
  return out;
}

json::Array array_of(const std::vector<std::string>& list) {
  json::Array out;
  for (const std::string& text : list) out.emplace_back(text);
  return out;
}

json::Value member_of(const json::Value& root, std::initializer_list<std::string_view> path) {
  const json::Value* found = json::find(root, path);
  return found == nullptr ? json::Value(json::Object{}) : *found;
}

}  // namespace monopod::cri
