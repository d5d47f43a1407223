// Protobuf to JSON trees. Each message is walked once; what it means is the tables' word for its field numbers.
#include <bit>

#include "api/protobuf/protobuf.h"
#include "api/protobuf/wire.h"
#include "api/schema/canonical.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/strings.h"
#include "base/utf8.h"

namespace monopod::api {
namespace {

using wire::Piece;
using wire::Reader;

constexpr std::string_view kMagic{"k8s\0", 4};
constexpr int kDepthMax = 100;
// What an empty message costs as a tree is bounded by the body: two bytes of input make at most one small value.

std::unexpected<Error> malformed(std::string_view what) { return fail(Code::kInvalidArgument, cat("protobuf: ", what)); }

class Decoder {
 public:
  Result<json::Value> message(std::string_view bytes, const Type& type, int depth) {
    json::Value out(json::Object{});
    TRY(into(out.get_object(), bytes, type, 0, depth));
    return out;
  }

 private:
  // `inlined` is the embedded message that bytes is, 0 for the message itself.
  Result<> into(json::Object& out, std::string_view bytes, const Type& type, std::uint32_t inlined, int depth) {
    if (depth > kDepthMax) return malformed("nested too deep");
    Reader reader(bytes);
    while (auto piece = reader.next()) {
      std::uint32_t below = inlined == 0 ? piece->number : inlined | piece->number << 4;
      const Field* field = type.find_proto(inlined, piece->number);
      if (field == nullptr && piece->kind == wire::kBytes && piece->number < 16 && (inlined == 0 || inlined < 16)) {
        bool embedded = inlined == 0 ? type.has_proto_inline(piece->number) : has_nested(type, below);
        if (embedded) {
          TRY(into(out, piece->bytes, type, below, depth + 1));
          continue;
        }
      }
      if (field == nullptr) continue;  // unknown: skipped
      TRY(member(out, *field, *piece, depth));
    }
    if (!reader.ok()) return malformed(cat("malformed message ", type.name()));
    return {};
  }

  static bool has_nested(const Type& type, std::uint32_t inlined) {
    for (const Field& f : type.fields())
      if (f.proto_inline() == inlined) return true;
    return false;
  }

  Result<> member(json::Object& out, const Field& field, const Piece& piece, int depth) {
    switch (field.shape()) {
      case Shape::kSingle: {
        TRY_ASSIGN(json::Value v, value(field, piece, depth));
        out[field.name()] = std::move(v);  // the last of two wins; proto2 would merge messages, no encoder sends two
        return {};
      }
      case Shape::kList: {
        json::Value& list = out[field.name()];
        if (!list.is_array()) list.emplace_array();
        if (piece.kind == wire::kBytes && is_varint(field.kind())) {  // packed
          return packed(list.get_array(), field, piece.bytes);
        }
        TRY_ASSIGN(json::Value v, value(field, piece, depth));
        list.get_array().push_back(std::move(v));
        return {};
      }
      case Shape::kMap: {
        json::Value& map = out[field.name()];
        if (!map.is_object()) map.emplace_object();
        if (piece.kind != wire::kBytes) return wrong(field);
        Reader reader(piece.bytes);
        std::string_view key;
        json::Value v = empty(field);
        while (auto entry = reader.next()) {
          if (entry->number == 1 && entry->kind == wire::kBytes) {
            key = entry->bytes;
          } else if (entry->number == 2) {
            TRY_ASSIGN(v, value(field, *entry, depth));
          }
        }
        if (!reader.ok()) return wrong(field);
        TRY(check_text(key, field));
        map.get_object()[key] = std::move(v);
        return {};
      }
    }
    return {};
  }

  static bool is_varint(FieldKind k) { return k == FieldKind::kInt32 || k == FieldKind::kInt64 || k == FieldKind::kBool; }

  Result<> packed(json::Array& list, const Field& field, std::string_view bytes) {
    // Values of one field number follow each other without tags: read them as the values of made-up tags.
    std::size_t at = 0;
    while (at < bytes.size()) {
      std::uint64_t n = 0;
      unsigned shift = 0;
      while (true) {
        if (at == bytes.size() || shift > 63) return wrong(field);
        auto byte = static_cast<unsigned char>(bytes[at++]);
        n |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
        shift += 7;
        if (byte < 0x80) break;
      }
      TRY_ASSIGN(json::Value v, value(field, {field.proto_number(), wire::kVarint, n, {}}, 0));
      list.push_back(std::move(v));
    }
    return {};
  }

  static json::Value empty(const Field& field) {
    switch (field.kind()) {
      case FieldKind::kObject: return json::Object();
      case FieldKind::kStringList: return json::Array();
      case FieldKind::kQuantity: return "0";
      case FieldKind::kInt32:
      case FieldKind::kInt64: return 0;
      case FieldKind::kBool: return false;
      default: return "";
    }
  }

  static std::unexpected<Error> wrong(const Field& field) { return malformed(cat("wrong wire type or value for field ", field.name())); }

  // Go strings from protobuf are taken as they are; JSON needs UTF-8.
  static Result<> check_text(std::string_view text, const Field& field) {
    if (!is_utf8(text)) return malformed(cat("field ", field.name(), " contains invalid UTF-8"));
    return {};
  }

  Result<json::Value> value(const Field& field, const Piece& piece, int depth) {
    FieldKind kind = field.kind();
    if (is_varint(kind)) {
      if (piece.kind != wire::kVarint) return wrong(field);
      if (kind == FieldKind::kBool) return json::Value(piece.value != 0);
      if (kind == FieldKind::kInt32) return json::Value(static_cast<std::int64_t>(static_cast<std::int32_t>(piece.value)));
      return json::Value(static_cast<std::int64_t>(piece.value));
    }
    if (kind == FieldKind::kDouble) {
      if (piece.kind != wire::kFixed64) return wrong(field);
      return json::Value(std::bit_cast<double>(piece.value));
    }
    if (piece.kind != wire::kBytes) return wrong(field);
    switch (kind) {
      case FieldKind::kString:
        TRY(check_text(piece.bytes, field));
        return json::Value(piece.bytes);
      case FieldKind::kBytes: return json::Value(format_base64(piece.bytes));
      case FieldKind::kObject: return message(piece.bytes, *field.type(), depth + 1);
      case FieldKind::kQuantity: return quantity(piece.bytes, field);
      case FieldKind::kTime:
      case FieldKind::kMicroTime: return time(piece.bytes, field);
      case FieldKind::kIntOrString: return int_or_string(piece.bytes, field);
      case FieldKind::kStringList: return strings(piece.bytes, field, 1);
      case FieldKind::kRawObject:
      case FieldKind::kFieldsV1:
      case FieldKind::kAny: return raw(piece.bytes, field);
      case FieldKind::kSchemaOrArray: return schema_or(piece.bytes, field, depth, 1, 2);
      case FieldKind::kSchemaOrBool: return schema_or(piece.bytes, field, depth, 2, 0);
      case FieldKind::kSchemaOrStringArray: return schema_or(piece.bytes, field, depth, 1, 2);
      default: return wrong(field);
    }
  }

  static Result<json::Value> quantity(std::string_view bytes, const Field& field) {
    Reader reader(bytes);
    json::Value out("0");
    while (auto p = reader.next()) {
      if (p->number != 1) continue;
      TRY(check_text(p->bytes, field));
      if (!p->bytes.empty()) out = p->bytes;
    }
    if (!reader.ok()) return wrong(field);
    return out;
  }

  static Result<json::Value> time(std::string_view bytes, const Field& field) {
    Reader reader(bytes);
    std::int64_t seconds = 0;
    std::int64_t nanos = 0;
    bool set = false;
    while (auto p = reader.next()) {
      if (p->kind != wire::kVarint) continue;
      if (p->number == 1) seconds = static_cast<std::int64_t>(p->value);
      if (p->number == 2) nanos = static_cast<std::int32_t>(p->value);
      set = true;
    }
    if (!reader.ok()) return wrong(field);
    // The zero time: an empty message, or Go's year 1.
    constexpr std::int64_t kYear1 = -62135596800, kSecondsMax = 9223372000;
    if (!set || seconds == kYear1) return json::Value(nullptr);
    if (seconds < -kSecondsMax || seconds > kSecondsMax || nanos < 0 || nanos > 999999999) return wrong(field);
    WallTime at{std::chrono::seconds(seconds) + std::chrono::nanoseconds(nanos)};
    return json::Value(field.kind() == FieldKind::kTime ? format_rfc3339(at) : format_rfc3339_micro(at));
  }

  static Result<json::Value> int_or_string(std::string_view bytes, const Field& field) {
    Reader reader(bytes);
    std::uint64_t type = 0;
    std::int64_t number = 0;
    std::string_view text;
    while (auto p = reader.next()) {
      if (p->number == 1) type = p->value;
      if (p->number == 2) number = static_cast<std::int32_t>(p->value);
      if (p->number == 3) text = p->bytes;
    }
    if (!reader.ok()) return wrong(field);
    TRY(check_text(text, field));
    return type == 1 ? json::Value(text) : json::Value(number);
  }

  static Result<json::Value> strings(std::string_view bytes, const Field& field, std::uint32_t number) {
    Reader reader(bytes);
    json::Array out;
    while (auto p = reader.next()) {
      if (p->number != number || p->kind != wire::kBytes) continue;
      TRY(check_text(p->bytes, field));
      out.push_back(json::Value(p->bytes));
    }
    if (!reader.ok()) return wrong(field);
    return json::Value(std::move(out));
  }

  static Result<json::Value> raw(std::string_view bytes, const Field& field) {
    Reader reader(bytes);
    json::Value out(nullptr);
    while (auto p = reader.next()) {
      if (p->number != 1 || p->kind != wire::kBytes || p->bytes.empty()) continue;
      auto parsed = json::parse(p->bytes);
      if (!parsed) return malformed(cat("field ", field.name(), ": ", parsed.error().message()));
      out = *std::move(parsed);
    }
    if (!reader.ok()) return wrong(field);
    return out;
  }

  Result<json::Value> schema_or(std::string_view bytes, const Field& field, int depth, std::uint32_t schema, std::uint32_t list) {
    Reader reader(bytes);
    json::Value out(nullptr);
    while (auto p = reader.next()) {
      if (p->number == schema && p->kind == wire::kBytes) {
        TRY_ASSIGN(out, message(p->bytes, *field.type(), depth + 1));
      } else if (field.kind() == FieldKind::kSchemaOrBool && p->number == 1 && out.is_null()) {
        out = p->value != 0;
      } else if (p->number == list && p->kind == wire::kBytes) {
        if (!out.is_array()) out.emplace_array();
        if (field.kind() == FieldKind::kSchemaOrStringArray) {
          TRY(check_text(p->bytes, field));
          out.get_array().push_back(json::Value(p->bytes));
        } else {
          TRY_ASSIGN(json::Value v, message(p->bytes, *field.type(), depth + 1));
          out.get_array().push_back(std::move(v));
        }
      }
    }
    if (!reader.ok()) return wrong(field);
    return out;
  }
};

struct Envelope {
  TypeMeta meta;
  std::string_view raw;
};

Result<Envelope> open(std::string_view bytes) {
  if (!bytes.starts_with(kMagic))
    return fail(Code::kInvalidArgument, "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  Envelope out;
  Reader reader(bytes.substr(kMagic.size()));
  while (auto p = reader.next()) {
    if (p->kind != wire::kBytes) continue;
    if (p->number == 2) out.raw = p->bytes;
    if (p->number == 3 && !p->bytes.empty()) return malformed(cat("content encoding ", p->bytes, " is not supported"));
    if (p->number != 1) continue;
    Reader meta(p->bytes);
    while (auto m = meta.next()) {
      if (m->number == 1) out.meta.api_version = m->bytes;
      if (m->number == 2) out.meta.kind = m->bytes;
    }
    if (!meta.ok()) return malformed("malformed type meta");
  }
  if (!reader.ok() || !is_utf8(out.meta.api_version) || !is_utf8(out.meta.kind)) return malformed("malformed envelope");
  return out;
}

}  // namespace

Result<TypeMeta> peek_protobuf_type(std::string_view bytes) {
  TRY_ASSIGN(Envelope envelope, open(bytes));
  return envelope.meta;
}

Result<json::Value> decode_protobuf(std::string_view bytes, const DecodeTarget& target) {
  TRY_ASSIGN(Envelope envelope, open(bytes));
  TRY_ASSIGN(json::Value out, Decoder().message(envelope.raw, *target.type, 0));
  json::Object& object = out.get_object();
  if (target.type->find("apiVersion") != nullptr) {
    object["apiVersion"] = envelope.meta.api_version.empty() ? std::string(target.group_version) : envelope.meta.api_version;
    object["kind"] = envelope.meta.kind.empty() ? std::string(target.kind) : envelope.meta.kind;
  }
  TRY(check_depth(out));
  TRY(canonicalize(out, *target.type));
  return out;
}

}  // namespace monopod::api
