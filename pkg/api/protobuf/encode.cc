// Canonical JSON text to protobuf in one pass, without a tree: a message is written where it will stand, one byte is kept for
// its length, and what turns out longer is moved by the bytes its length needs.
#include <charconv>
#include <cstring>
#include <map>

#include "api/protobuf/protobuf.h"
#include "api/protobuf/wire.h"
#include "api/scan.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

using wire::put_bytes;
using wire::put_number;

constexpr auto kEnd = std::string_view::npos;

std::unexpected<Error> wrong(const Field& field) { return fail(Code::kInvalidArgument, cat("protobuf: field ", field.name(), " has a value of the wrong type")); }
std::unexpected<Error> malformed() { return fail(Code::kInvalidArgument, "protobuf: not canonical JSON"); }

// A length-delimited field that is being written: begin, then bytes, then end().
class Framed {
 public:
  Framed(std::string& out, std::uint32_t number) : out_(out) {
    wire::put_tag(out, number, wire::kBytes);
    out_ += '\0';
    begin_ = out.size();
  }
  void end() {
    std::size_t size = out_.size() - begin_;
    if (size < 0x80) {
      out_[begin_ - 1] = static_cast<char>(size);
      return;
    }
    std::string length;  // of a few bytes: never on the heap
    wire::put_varint(length, size);
    out_.insert(begin_, length.size() - 1, '\0');
    std::memcpy(out_.data() + begin_ - 1, length.data(), length.size());
  }

 private:
  std::string& out_;
  std::size_t begin_ = 0;
};

// Fields of a type by name. Members of canonical objects come in the table's order, so that the next one is mostly the one wanted.
class FieldCursor {
 public:
  explicit FieldCursor(const Type& type) : type_(type), fields_(type.fields()) {}
  const Field* find(std::string_view name) {
    for (std::size_t i = at_; i < fields_.size() && i < at_ + kAhead; ++i) {
      if (fields_[i].name() != name) continue;
      at_ = i + 1;
      return &fields_[i];
    }
    const Field* found = type_.find(name);
    if (found != nullptr) at_ = static_cast<std::size_t>(found - fields_.data()) + 1;
    return found;
  }

 private:
  static constexpr std::size_t kAhead = 4;
  const Type& type_;
  std::span<const Field> fields_;
  std::size_t at_ = 0;
};

class Encoder {
 public:
  explicit Encoder(std::string_view text) : text_(text) {}

  Result<> object(std::string& out, const Type& type) {
    space();
    if (peek() != '{') return fail(Code::kInvalidArgument, cat("protobuf: ", type.name(), " is not an object"));
    std::map<std::uint32_t, std::string> embedded;  // by inline path: few
    FieldCursor fields(type);
    TRY(members([&](std::string_view key) -> Result<> {
      const Field* field = fields.find(key);
      if (field == nullptr || field->proto_number() == 0 || peek() == 'n') return skip();
      return member(field->proto_inline() == 0 ? out : embedded[field->proto_inline()], *field);
    }));
    // Messages two levels down are framed into their parent first.
    for (auto it = embedded.rbegin(); it != embedded.rend(); ++it)
      if (it->first > 15) put_bytes(embedded[it->first & 15U], it->first >> 4, it->second);
    for (auto& [path, bytes] : embedded)
      if (path <= 15) put_bytes(out, path, bytes);
    return {};
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }
  // The value that begins here, as it stands.
  Result<std::string_view> raw() {
    std::size_t end = detail::skip_value(text_, at_);
    if (end == kEnd) return malformed();
    std::string_view out = text_.substr(at_, end - at_);
    at_ = end;
    return out;
  }
  Result<> skip() {
    TRY_ASSIGN(std::string_view ignored, raw());
    (void)ignored;
    return {};
  }
  // A string's content; scratch holds it where there are escapes to resolve. Good until the next.
  Result<std::string_view> text(const Field& field) {
    if (peek() != '"') return wrong(field);
    TRY_ASSIGN(std::string_view quoted, raw());
    std::string_view inner = quoted.substr(1, quoted.size() - 2);
    if (std::memchr(inner.data(), '\\', inner.size()) == nullptr) return inner;
    scratch_ = scan_text(quoted);
    return std::string_view(scratch_);
  }

  // on_member stands at the value and takes it.
  template <typename F>
  Result<> members(F on_member) {
    ++at_;
    space();
    while (peek() == '"') {
      TRY_ASSIGN(std::string_view quoted, raw());
      space();
      if (peek() != ':') return malformed();
      ++at_;
      space();
      TRY(on_member(quoted.substr(1, quoted.size() - 2)));
      space();
      if (peek() != ',') break;
      ++at_;
      space();
    }
    if (peek() != '}') return malformed();
    ++at_;
    return {};
  }
  template <typename F>
  Result<> elements(F on_element) {
    ++at_;
    space();
    while (at_ < text_.size() && peek() != ']') {
      TRY(on_element());
      space();
      if (peek() != ',') break;
      ++at_;
      space();
    }
    if (peek() != ']') return malformed();
    ++at_;
    return {};
  }

  Result<> member(std::string& out, const Field& field) {
    std::uint32_t number = field.proto_number();
    switch (field.shape()) {
      case Shape::kSingle: return single(out, field, number);
      case Shape::kList:
        if (peek() != '[') return wrong(field);
        return elements([&] { return single(out, field, number); });
      case Shape::kMap:
        if (peek() != '{') return wrong(field);
        return members([&](std::string_view name) -> Result<> {
          Framed entry(out, number);
          if (name.find('\\') == kEnd) put_bytes(out, 1, name);
          else put_bytes(out, 1, scan_text(cat('"', name, '"')));
          TRY(single(out, field, 2));
          entry.end();
          return {};
        });
    }
    return {};
  }

  Result<std::int64_t> integer(const Field& field) {
    TRY_ASSIGN(std::string_view digits, raw());
    std::int64_t value = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error != std::errc() || end != digits.data() + digits.size()) return wrong(field);
    return value;
  }

  Result<> single(std::string& out, const Field& field, std::uint32_t number) {
    switch (field.kind()) {
      case FieldKind::kString: {
        TRY_ASSIGN(std::string_view value, text(field));
        put_bytes(out, number, value);
        return {};
      }
      case FieldKind::kBytes: {
        TRY_ASSIGN(std::string_view value, text(field));
        auto bytes = parse_base64(value);
        if (!bytes) return wrong(field);
        put_bytes(out, number, *bytes);
        return {};
      }
      case FieldKind::kInt32:
      case FieldKind::kInt64: {
        TRY_ASSIGN(std::int64_t value, integer(field));
        put_number(out, number, static_cast<std::uint64_t>(value));
        return {};
      }
      case FieldKind::kBool: {
        TRY_ASSIGN(std::string_view value, raw());
        if (value != "true" && value != "false") return wrong(field);
        put_number(out, number, value == "true" ? 1 : 0);
        return {};
      }
      case FieldKind::kDouble: {
        TRY_ASSIGN(std::string_view digits, raw());
        double value = 0;
        auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error != std::errc() || end != digits.data() + digits.size()) return wrong(field);
        wire::put_double(out, number, value);
        return {};
      }
      case FieldKind::kObject: {
        Framed inner(out, number);
        TRY(object(out, *field.type()));
        inner.end();
        return {};
      }
      case FieldKind::kQuantity: {
        TRY_ASSIGN(std::string_view value, text(field));
        Framed inner(out, number);
        put_bytes(out, 1, value);
        inner.end();
        return {};
      }
      case FieldKind::kTime:
      case FieldKind::kMicroTime: {
        TRY_ASSIGN(std::string_view value, text(field));
        TRY_ASSIGN(WallTime at, parse_rfc3339(value));
        auto seconds = std::chrono::floor<std::chrono::seconds>(at);
        Framed inner(out, number);
        put_number(out, 1, static_cast<std::uint64_t>(seconds.time_since_epoch().count()));
        put_number(out, 2, static_cast<std::uint64_t>((at - seconds).count()));
        inner.end();
        return {};
      }
      case FieldKind::kIntOrString: {
        bool is_text = peek() == '"';
        std::int64_t value = 0;
        std::string_view words;
        if (is_text) {
          TRY_ASSIGN(words, text(field));
        } else {
          TRY_ASSIGN(value, integer(field));
        }
        Framed inner(out, number);
        put_number(out, 1, is_text ? 1 : 0);
        put_number(out, 2, static_cast<std::uint64_t>(value));
        put_bytes(out, 3, words);
        inner.end();
        return {};
      }
      case FieldKind::kStringList: {
        if (peek() != '[') return wrong(field);
        Framed inner(out, number);
        TRY(elements([&]() -> Result<> {
          TRY_ASSIGN(std::string_view value, text(field));
          put_bytes(out, 1, value);
          return {};
        }));
        inner.end();
        return {};
      }
      case FieldKind::kRawObject:
      case FieldKind::kFieldsV1:
      case FieldKind::kAny: {
        TRY_ASSIGN(std::string_view value, raw());
        Framed inner(out, number);
        put_bytes(out, 1, value);
        inner.end();
        return {};
      }
      case FieldKind::kSchemaOrArray:
      case FieldKind::kSchemaOrBool:
      case FieldKind::kSchemaOrStringArray: return schema_or(out, field, number);
    }
    return {};
  }

  Result<> schema(std::string& out, const Field& field, std::uint32_t number) {
    Framed inner(out, number);
    TRY(object(out, *field.type()));
    inner.end();
    return {};
  }

  Result<> schema_or(std::string& out, const Field& field, std::uint32_t number) {
    Framed inner(out, number);
    bool boolean = field.kind() == FieldKind::kSchemaOrBool;
    if (peek() == 't' || peek() == 'f') {
      TRY_ASSIGN(std::string_view value, raw());
      put_number(out, 1, value == "true" ? 1 : 0);
    } else if (peek() == '[') {
      TRY(elements([&]() -> Result<> {
        if (peek() != '"') return schema(out, field, 2);
        TRY_ASSIGN(std::string_view value, text(field));
        put_bytes(out, 2, value);
        return {};
      }));
    } else {
      if (boolean) put_number(out, 1, 1);
      TRY(schema(out, field, boolean ? 2 : 1));
    }
    inner.end();
    return {};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::string scratch_;
};

}  // namespace

Result<> append_protobuf_message(std::string& out, std::string_view json, const Type& type) { return Encoder(json).object(out, type); }

Result<> append_protobuf_field(std::string& out, std::uint32_t number, std::string_view json, const Type& type) {
  Framed item(out, number);
  TRY(append_protobuf_message(out, json, type));
  item.end();
  return {};
}

std::string protobuf_envelope(std::string_view api_version, std::string_view kind, std::size_t message_bytes) {
  std::string out("k8s\0", 4);
  Framed meta(out, 1);
  put_bytes(out, 1, api_version);
  put_bytes(out, 2, kind);
  meta.end();
  wire::put_tag(out, 2, wire::kBytes);
  wire::put_varint(out, message_bytes);
  return out;
}

Result<std::string> encode_protobuf(std::string_view json, std::string_view api_version, std::string_view kind, const Type& type) {
  std::string raw;
  raw.reserve(json.size());
  TRY(append_protobuf_message(raw, json, type));
  std::string out = protobuf_envelope(api_version, kind, raw.size());
  out.reserve(out.size() + raw.size() + kProtobufEnvelopeEnd.size());
  out += raw;
  out += kProtobufEnvelopeEnd;
  return out;
}

Result<std::string> encode_protobuf(const json::Value& object, const Type& type) {
  return encode_protobuf(json::format(object), json::get_string(object, {"apiVersion"}), json::get_string(object, {"kind"}), type);
}

}  // namespace monopod::api
