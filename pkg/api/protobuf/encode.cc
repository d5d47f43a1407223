// JSON trees to protobuf. A message is written into its own string and then framed: sizes are small and the code stays plain.
#include <map>

#include "api/protobuf/protobuf.h"
#include "api/protobuf/wire.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

using wire::put_bytes;
using wire::put_number;

std::unexpected<Error> wrong(const Field& field) { return fail(Code::kInvalidArgument, cat("protobuf: field ", field.name(), " has a value of the wrong type")); }

class Encoder {
 public:
  Result<std::string> message(const json::Value& object, const Type& type) {
    if (!object.is_object()) return fail(Code::kInvalidArgument, cat("protobuf: ", type.name(), " is not an object"));
    std::string out;
    std::map<std::uint32_t, std::string> embedded;  // by inline path: few
    for (auto& m : object.get_object()) {
      const Field* field = type.find(m.key());
      if (field == nullptr || field->proto_number() == 0 || m.value().is_null()) continue;
      TRY(member(field->proto_inline() == 0 ? out : embedded[field->proto_inline()], *field, m.value()));
    }
    // Messages two levels down are framed into their parent first.
    for (auto it = embedded.rbegin(); it != embedded.rend(); ++it)
      if (it->first > 15) put_bytes(embedded[it->first & 15U], it->first >> 4, it->second);
    for (auto& [path, bytes] : embedded)
      if (path <= 15) put_bytes(out, path, bytes);
    return out;
  }

 private:
  Result<> member(std::string& out, const Field& field, const json::Value& value) {
    switch (field.shape()) {
      case Shape::kSingle: return single(out, field, field.proto_number(), value);
      case Shape::kList:
        if (!value.is_array()) return wrong(field);
        for (const json::Value& item : value.get_array()) TRY(single(out, field, field.proto_number(), item));
        return {};
      case Shape::kMap:
        if (!value.is_object()) return wrong(field);
        for (auto& m : value.get_object()) {
          std::string entry;
          put_bytes(entry, 1, m.key());
          TRY(single(entry, field, 2, m.value()));
          put_bytes(out, field.proto_number(), entry);
        }
        return {};
    }
    return {};
  }

  Result<> single(std::string& out, const Field& field, std::uint32_t number, const json::Value& value) {
    switch (field.kind()) {
      case FieldKind::kString:
        if (!value.is_string()) return wrong(field);
        put_bytes(out, number, value.get_string());
        return {};
      case FieldKind::kBytes: {
        if (!value.is_string()) return wrong(field);
        auto raw = parse_base64(value.get_string());
        if (!raw) return wrong(field);
        put_bytes(out, number, *raw);
        return {};
      }
      case FieldKind::kInt32:
      case FieldKind::kInt64:
        if (!value.is_int64()) return wrong(field);
        put_number(out, number, static_cast<std::uint64_t>(value.get_int64()));
        return {};
      case FieldKind::kBool:
        if (!value.is_bool()) return wrong(field);
        put_number(out, number, value.get_bool() ? 1 : 0);
        return {};
      case FieldKind::kDouble:
        if (!value.is_number()) return wrong(field);
        wire::put_double(out, number, value.to_number<double>());
        return {};
      case FieldKind::kObject: {
        TRY_ASSIGN(std::string inner, message(value, *field.type()));
        put_bytes(out, number, inner);
        return {};
      }
      case FieldKind::kQuantity: {
        if (!value.is_string()) return wrong(field);
        std::string inner;
        put_bytes(inner, 1, value.get_string());
        put_bytes(out, number, inner);
        return {};
      }
      case FieldKind::kTime:
      case FieldKind::kMicroTime: {
        if (!value.is_string()) return wrong(field);
        TRY_ASSIGN(WallTime at, parse_rfc3339(value.get_string()));
        auto seconds = std::chrono::floor<std::chrono::seconds>(at);
        std::string inner;
        put_number(inner, 1, static_cast<std::uint64_t>(seconds.time_since_epoch().count()));
        put_number(inner, 2, static_cast<std::uint64_t>((at - seconds).count()));
        put_bytes(out, number, inner);
        return {};
      }
      case FieldKind::kIntOrString: {
        std::string inner;
        put_number(inner, 1, value.is_string() ? 1 : 0);
        put_number(inner, 2, value.is_int64() ? static_cast<std::uint64_t>(value.get_int64()) : 0);
        put_bytes(inner, 3, value.is_string() ? std::string_view(value.get_string()) : std::string_view());
        put_bytes(out, number, inner);
        return {};
      }
      case FieldKind::kStringList: {
        if (!value.is_array()) return wrong(field);
        std::string inner;
        for (const json::Value& item : value.get_array()) put_bytes(inner, 1, item.is_string() ? std::string_view(item.get_string()) : std::string_view());
        put_bytes(out, number, inner);
        return {};
      }
      case FieldKind::kRawObject:
      case FieldKind::kFieldsV1:
      case FieldKind::kAny: {
        std::string inner;
        put_bytes(inner, 1, json::format(value));
        put_bytes(out, number, inner);
        return {};
      }
      case FieldKind::kSchemaOrArray:
      case FieldKind::kSchemaOrBool:
      case FieldKind::kSchemaOrStringArray: return schema_or(out, field, number, value);
    }
    return {};
  }

  Result<> schema_or(std::string& out, const Field& field, std::uint32_t number, const json::Value& value) {
    std::string inner;
    bool boolean = field.kind() == FieldKind::kSchemaOrBool;
    if (value.is_bool()) {
      put_number(inner, 1, value.get_bool() ? 1 : 0);
    } else if (const json::Array* list = value.if_array()) {
      for (const json::Value& item : *list) {
        if (item.is_string()) {
          put_bytes(inner, 2, item.get_string());
        } else {
          TRY_ASSIGN(std::string schema, message(item, *field.type()));
          put_bytes(inner, 2, schema);
        }
      }
    } else {
      if (boolean) put_number(inner, 1, 1);
      TRY_ASSIGN(std::string schema, message(value, *field.type()));
      put_bytes(inner, boolean ? 2 : 1, schema);
    }
    put_bytes(out, number, inner);
    return {};
  }
};

}  // namespace

Result<std::string> encode_protobuf_message(const json::Value& object, const Type& type) { return Encoder().message(object, type); }

Result<std::string> encode_protobuf(const json::Value& object, const Type& type) {
  TRY_ASSIGN(std::string raw, Encoder().message(object, type));
  std::string meta, unknown;
  put_bytes(meta, 1, json::get_string(object, {"apiVersion"}));
  put_bytes(meta, 2, json::get_string(object, {"kind"}));
  put_bytes(unknown, 1, meta);
  put_bytes(unknown, 2, raw);
  put_bytes(unknown, 3, {});
  put_bytes(unknown, 4, {});
  return std::string("k8s\0", 4) + unknown;
}

}  // namespace monopod::api
