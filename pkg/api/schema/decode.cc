#include "api/schema/decode.h"

#include <algorithm>
#include <set>
#include <unordered_set>

#include "api/schema/canonical.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::size_t kStrictErrorsMax = 100;

// Walks valid JSON text by members. Counting tells in one cheap pass whether a key stands twice; naming finds where, and where the members of
// unknown fields stand.
class KeyScan {
 public:
  explicit KeyScan(std::string_view text) : text_(text) {}

  std::size_t count() {
    std::size_t n = 0;
    while (at_ < text_.size()) {
      char c = text_[at_];
      if (c == '"') skip_string();
      else {
        n += c == ':';
        ++at_;
      }
    }
    return n;
  }

  void name(const std::string& path, const std::set<std::string>& unknown, std::vector<std::string>& out) {
    space();
    if (at_ >= text_.size()) return;
    if (text_[at_] == '{') {
      ++at_;
      std::unordered_set<std::string_view> seen;
      while (space(), at_ < text_.size() && text_[at_] == '"') {
        std::string_view key = skip_string();
        std::string below = path.empty() ? std::string(key) : cat(path, ".", key);
        bool first = seen.insert(key).second;
        if (!first && out.size() < kStrictErrorsMax) out.push_back(cat("duplicate field \"", below, "\""));
        if (first && out.size() < kStrictErrorsMax && unknown.contains(below)) out.push_back(cat("unknown field \"", below, "\""));
        space();
        ++at_;  // the colon
        name(below, unknown, out);
        space();
        if (at_ < text_.size() && text_[at_] == ',') ++at_;
      }
      ++at_;
    } else if (text_[at_] == '[') {
      ++at_;
      for (std::size_t i = 0; space(), at_ < text_.size() && text_[at_] != ']'; ++i) {
        name(cat(path, "[", i, "]"), unknown, out);
        space();
        if (at_ < text_.size() && text_[at_] == ',') ++at_;
      }
      ++at_;
    } else if (text_[at_] == '"') {
      skip_string();
    } else {
      while (at_ < text_.size() && std::string_view(",]} \t\r\n").find(text_[at_]) == std::string_view::npos) ++at_;
    }
  }

 private:
  void space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  // The text between the quotes.
  std::string_view skip_string() {
    std::size_t begin = ++at_;
    while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
    std::size_t end = std::min(at_, text_.size());
    ++at_;
    return text_.substr(begin, end - begin);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::size_t count_members(const json::Value& v) {
  std::size_t n = 0;
  if (const json::Object* o = v.if_object()) {
    n = o->size();
    for (auto& m : *o)
      if (m.value().is_structured()) n += count_members(m.value());
  } else if (const json::Array* a = v.if_array()) {
    for (auto& item : *a)
      if (item.is_structured()) n += count_members(item);
  }
  return n;
}

bool has_duplicates(std::string_view text, const json::Value& tree) { return KeyScan(text).count() != count_members(tree); }

std::unexpected<Error> cannot_handle(const DecodeTarget& target, std::string_view what) {
  if (target.kind.empty()) return fail(Code::kInvalidArgument, std::string(what));
  return fail(Code::kInvalidArgument, cat(target.kind, " in version \"", split_group_version(target.group_version).version,
                                          "\" cannot be handled as a ", target.kind, ": ", what));
}

// text: what the tree came from, where a key stands twice in it.
Result<Decoded> decode(json::Value tree, const DecodeTarget& target, FieldValidation validation, std::string_view text) {
  if (!tree.is_object())
    return cannot_handle(target, cat("json: cannot unmarshal ", tree.is_array() ? "array" : tree.is_string() ? "string" : tree.is_bool() ? "bool" : "number",
                                     " into Go value of type map[string]interface {}"));
  std::vector<std::string> unknown;
  CanonicalOptions options;
  if (validation != FieldValidation::kIgnore) options.unknown = &unknown;
  json::Object& object = tree.get_object();
  auto fill = [&](std::string_view name, std::string_view value) {
    if (value.empty() || target.type->find(name) == nullptr) return;
    json::Value& member = object[name];
    if (member.is_null() || (member.is_string() && member.get_string().empty())) member = value;
  };
  fill("apiVersion", target.group_version);
  fill("kind", target.kind);
  if (auto done = canonicalize_tree(tree, *target.type, options); !done) return cannot_handle(target, done.error().message());
  std::vector<std::string> strict;
  if (!text.empty()) KeyScan(text).name({}, {unknown.begin(), unknown.end()}, strict);  // in the order in which they stand there
  else
    for (std::string& path : unknown)
      if (strict.size() < kStrictErrorsMax) strict.push_back(cat("unknown field \"", path, "\""));
  if (!strict.empty() && validation == FieldValidation::kStrict)
    return cannot_handle(target, cat("strict decoding error: ", join(strict, ", ")));
  return Decoded{std::move(tree), validation == FieldValidation::kWarn ? std::move(strict) : std::vector<std::string>()};
}

}  // namespace

std::vector<std::string> duplicate_fields(std::string_view text, const json::Value& tree) {
  std::vector<std::string> out;
  if (has_duplicates(text, tree)) KeyScan(text).name({}, {}, out);
  return out;
}

Result<FieldValidation> parse_field_validation(std::string_view text) {
  if (text.empty() || text == "Warn") return FieldValidation::kWarn;
  if (text == "Strict") return FieldValidation::kStrict;
  if (text == "Ignore") return FieldValidation::kIgnore;
  return fail(Code::kInvalidArgument, cat("fieldValidation: Unsupported value: \"", text, "\": supported values: \"Ignore\", \"Strict\", \"Warn\""));
}

Result<Decoded> decode_json(std::string_view text, const DecodeTarget& target, FieldValidation validation) {
  auto tree = json::parse(text);
  if (!tree) return cannot_handle(target, tree.error().message());
  if (auto shallow = check_depth(*tree); !shallow) return cannot_handle(target, shallow.error().message());
  bool twice = validation != FieldValidation::kIgnore && has_duplicates(text, *tree);
  return decode(*std::move(tree), target, validation, twice ? text : std::string_view());
}

Result<Decoded> decode_tree(json::Value tree, const DecodeTarget& target, FieldValidation validation) {
  if (auto shallow = check_depth(tree); !shallow) return cannot_handle(target, shallow.error().message());
  return decode(std::move(tree), target, validation, {});
}

Result<> canonicalize(json::Value& tree, const Type& type) { return canonicalize_tree(tree, type, {}); }

Result<TypeMeta> peek_type(std::string_view text) {
  TRY_ASSIGN(json::Value tree, json::parse(text));
  TypeMeta meta;
  if (!tree.is_object()) return fail(Code::kInvalidArgument, "couldn't get version/kind; json parse error: not an object");
  meta.api_version = json::get_string(tree, {"apiVersion"});
  meta.kind = json::get_string(tree, {"kind"});
  return meta;
}

}  // namespace monopod::api
