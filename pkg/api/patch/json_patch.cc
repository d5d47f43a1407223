// RFC 6902 over RFC 6901 pointers. Values are copied, never shared: the document stays a tree.
#include <vector>

#include "api/patch/patch.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::size_t kPathDepthMax = 256;

std::unexpected<Error> cannot(std::string message) { return fail(Code::kFailedPrecondition, std::move(message)); }

Result<std::vector<std::string>> parse_pointer(std::string_view text) {
  std::vector<std::string> out;
  if (text.empty()) return out;
  if (text[0] != '/') return fail(Code::kInvalidArgument, cat("json patch: pointer must begin with '/': ", text));
  for (std::string_view part : split(text.substr(1), '/')) {
    if (out.size() == kPathDepthMax) return fail(Code::kInvalidArgument, "json patch: pointer too deep");
    std::string token;
    for (std::size_t i = 0; i < part.size(); ++i) {
      if (part[i] == '~' && i + 1 < part.size() && (part[i + 1] == '0' || part[i + 1] == '1')) token += part[++i] == '0' ? '~' : '/';
      else token += part[i];
    }
    out.push_back(std::move(token));
  }
  return out;
}

std::optional<std::size_t> parse_index(std::string_view token, std::size_t size) {
  if (token.empty() || (token.size() > 1 && token[0] == '0')) return std::nullopt;
  auto n = parse_int<std::size_t>(token);
  return n && *n < size ? n : std::nullopt;
}

// Bytes the value takes, near enough to bound what copies may grow.
std::size_t weight(const json::Value& v) {
  std::size_t n = 8;
  if (const json::Object* o = v.if_object()) {
    for (auto& m : *o) n += m.key().size() + weight(m.value());
  } else if (const json::Array* a = v.if_array()) {
    for (auto& item : *a) n += weight(item);
  } else if (v.is_string()) {
    n += v.get_string().size();
  }
  return n;
}

class JsonPatch {
 public:
  JsonPatch(json::Value document, const PatchLimits& limits) : document_(std::move(document)), limits_(limits) {}

  Result<> apply(const json::Value& operation) {
    if (!operation.is_object()) return fail(Code::kInvalidArgument, "json: cannot unmarshal patch operation: not an object");
    std::string_view op = json::get_string(operation, {"op"});
    const json::Value* path_text = json::find(operation, {"path"});
    if (path_text == nullptr || !path_text->is_string())
      return cannot(cat(op, " operation does not apply: missing or invalid path"));
    path_ = path_text->get_string();
    TRY_ASSIGN(auto path, parse_pointer(path_));
    const json::Value* value = operation.get_object().if_contains("value");
    if ((op == "add" || op == "replace") && value == nullptr)
      return cannot(cat(op, " operation does not apply: doc is missing value: ", path_));
    if (op == "add") return add(path, *value);
    if (op == "remove") return remove(path);
    if (op == "replace") return replace(path, *value);
    if (op == "test") return test(path, value == nullptr ? json::Value(nullptr) : *value);
    if (op != "move" && op != "copy") return fail(Code::kInvalidArgument, cat("Unexpected kind: ", op));
    TRY_ASSIGN(auto from, parse_pointer(json::get_string(operation, {"from"})));
    if (op == "move") {
      if (from.size() < path.size() && std::equal(from.begin(), from.end(), path.begin()))
        return cannot(cat("move operation does not apply: into its own child: ", path_));
      TRY_ASSIGN(json::Value moved, take(from, "move"));
      return add(path, moved);
    }
    TRY_ASSIGN(json::Value* source, find(from, "copy"));
    copied_bytes_ += weight(*source);
    if (copied_bytes_ > limits_.copied_bytes_max)
      return fail(Code::kResourceExhausted, cat("Unable to complete the copy, the accumulated size increase of copy is ", copied_bytes_,
                                                ", exceeding the limit ", limits_.copied_bytes_max));
    json::Value copy = *source;
    return add(path, copy);
  }

  json::Value release() { return std::move(document_); }

 private:
  Result<json::Value*> find(const std::vector<std::string>& path, std::string_view op) { return find(path, path.size(), op); }
  Result<json::Value*> find(const std::vector<std::string>& path, std::size_t depth, std::string_view op) {
    json::Value* at = &document_;
    for (std::size_t i = 0; i < depth; ++i) {
      json::Value* next = nullptr;
      if (json::Object* o = at->if_object()) {
        next = o->if_contains(path[i]);
      } else if (json::Array* a = at->if_array()) {
        if (auto n = parse_index(path[i], a->size())) next = &(*a)[*n];
      }
      if (next == nullptr) return cannot(cat(op, " operation does not apply: doc is missing path: \"", path_, "\": missing value"));
      at = next;
    }
    return at;
  }

  Result<> add(const std::vector<std::string>& path, const json::Value& value) {
    if (path.empty()) {
      document_ = value;
      return {};
    }
    TRY_ASSIGN(json::Value* parent, find(path, path.size() - 1, "add"));
    const std::string& last = path.back();
    if (json::Object* o = parent->if_object()) {
      (*o)[last] = value;
      return {};
    }
    json::Array* a = parent->if_array();
    if (a == nullptr) return cannot(cat("add operation does not apply: doc is missing path: \"", path_, "\": missing value"));
    std::size_t index = a->size();
    if (last != "-") {
      auto n = parse_index(last, a->size() + 1);
      if (!n) return cannot(cat("add operation does not apply: error in add for path: '", path_, "': index out of bounds: invalid index referenced"));
      index = *n;
    }
    a->insert(a->begin() + static_cast<std::ptrdiff_t>(index), value);
    return {};
  }

  Result<json::Value> take(const std::vector<std::string>& path, std::string_view op) {
    if (path.empty()) return cannot(cat(op, " operation does not apply: the whole document"));
    TRY_ASSIGN(json::Value* parent, find(path, path.size() - 1, op));
    if (json::Object* o = parent->if_object()) {
      json::Value* member = o->if_contains(path.back());
      if (member == nullptr)
        return cannot(cat(op, " operation does not apply: Unable to remove nonexistent key: ", path.back(), ": missing value"));
      json::Value taken = std::move(*member);
      o->erase(path.back());
      return taken;
    }
    json::Array* a = parent->if_array();
    auto n = a == nullptr ? std::nullopt : parse_index(path.back(), a->size());
    if (!n) return cannot(cat(op, " operation does not apply: Unable to access invalid index: ", path.back(), ": invalid index referenced"));
    json::Value taken = std::move((*a)[*n]);
    a->erase(a->begin() + static_cast<std::ptrdiff_t>(*n));
    return taken;
  }

  Result<> remove(const std::vector<std::string>& path) {
    TRY(take(path, "remove"));
    return {};
  }

  Result<> replace(const std::vector<std::string>& path, const json::Value& value) {
    TRY_ASSIGN(json::Value* at, find(path, "replace"));
    *at = value;
    return {};
  }

  Result<> test(const std::vector<std::string>& path, const json::Value& value) {
    auto at = find(path, "test");
    json::Value null(nullptr);
    const json::Value& have = at ? **at : null;
    if (!at && !value.is_null()) return cannot(cat("testing path ", path_, " failed: test failed"));
    if (have != value) return cannot(cat("testing value ", path_, " failed: test failed"));
    return {};
  }

  json::Value document_;
  const PatchLimits& limits_;
  std::string path_;
  std::size_t copied_bytes_ = 0;
};

}  // namespace

Result<json::Value> apply_json_patch(const json::Value& original, const json::Value& patch, const PatchLimits& limits) {
  const json::Array* operations = patch.if_array();
  if (operations == nullptr) return fail(Code::kInvalidArgument, "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  if (operations->size() > limits.operations_max)
    return fail(Code::kResourceExhausted, cat("The allowed maximum operations in a JSON patch is ", limits.operations_max, ", got ", operations->size()));
  JsonPatch work(original, limits);
  for (const json::Value& operation : *operations) TRY(work.apply(operation));
  return work.release();
}

json::Value apply_merge_patch(json::Value original, const json::Value& patch) {
  const json::Object* changes = patch.if_object();
  if (changes == nullptr) return patch;
  if (!original.is_object()) original.emplace_object();
  json::Object& target = original.get_object();
  for (auto& m : *changes) {
    if (m.value().is_null()) {
      target.erase(m.key());
      continue;
    }
    json::Value& member = target[m.key()];
    member = apply_merge_patch(std::move(member), m.value());
  }
  return original;
}

}  // namespace monopod::api
