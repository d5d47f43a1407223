#include "api/object.h"

#include "api/scan.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

// name\0value\0name\0value\0
void append_pair(std::string& packed, std::string_view name, std::string_view value) {
  packed += name;
  packed += '\0';
  packed += value;
  packed += '\0';
}

template <typename F>
void each_pair(std::string_view packed, F on_pair) {
  while (!packed.empty()) {
    std::size_t name_end = packed.find('\0');
    std::size_t value_end = packed.find('\0', name_end + 1);
    if (!on_pair(packed.substr(0, name_end), packed.substr(name_end + 1, value_end - name_end - 1))) return;
    packed.remove_prefix(value_end + 1);
  }
}

struct MetaParts {
  std::string ns, name, uid, resource_version, labels;
  bool has_version = false;
  bool deleting = false;
};

// The position after the metadata that begins at `at`; npos where there is none.
std::size_t read_meta(std::string_view text, std::size_t at, MetaParts& out) {
  return walk_members(text, at, [&out, text](std::string_view key, std::size_t begin) {
    const std::size_t end = detail::skip_value(text, begin);
    if (end == std::string_view::npos) return end;
    const std::string_view value = text.substr(begin, end - begin);
    if (key == "name") out.name = scan_text(value);
    else if (key == "namespace") out.ns = scan_text(value);
    else if (key == "uid") out.uid = scan_text(value);
    else if (key == "resourceVersion") out.resource_version = scan_text(value), out.has_version = true;
    else if (key == "deletionTimestamp") out.deleting = value != "null";
    else if (key == "labels") {
      scan_members(value, [&out](std::string_view name, std::string_view text) {
        append_pair(out.labels, name, scan_text(text));
        return true;
      });
    }
    return end;
  });
}

}  // namespace

// What is cut out of an object's text, in one pass.
struct ObjectBuilder {
  MetaParts meta;
  std::string fields;
  std::size_t meta_begin = 0, meta_end = 0;

  // Whether it has metadata.
  bool read(std::string_view text, const std::vector<std::string_view>& extra_fields) {
    walk_members(text, 0, [&](std::string_view key, std::size_t at) {
      if (key == "metadata") {
        meta_begin = at;
        meta_end = read_meta(text, at, meta);
        return extra_fields.empty() ? std::string_view::npos : meta_end;
      }
      const std::size_t end = detail::skip_value(text, at);
      if (end != std::string_view::npos) read_fields(key, text.substr(at, end - at), extra_fields);
      return end;
    });
    return meta_begin > 0 && meta_end != std::string_view::npos;
  }

  void read_fields(std::string_view member, std::string_view text, const std::vector<std::string_view>& paths) {
    for (std::string_view path : paths) {
      auto [head, rest] = split_once(path, '.');
      if (head != member) continue;
      if (std::string value = scan_text(rest ? scan_path(text, *rest) : text); !value.empty()) append_pair(fields, path, value);
    }
  }

  std::shared_ptr<const Object> build(SharedBytes json, std::int64_t revision) {
    auto object = std::make_shared<Object>();
    object->key_ = cat(meta.ns, '/', meta.name);
    object->ns_size_ = static_cast<std::uint32_t>(meta.ns.size());
    object->uid_ = std::move(meta.uid);
    object->labels_ = std::move(meta.labels);
    object->labels_.shrink_to_fit();
    object->deleting_ = meta.deleting;
    object->revision_ = revision;
    object->fields_ = std::move(fields);
    object->fields_.shrink_to_fit();
    object->json_ = std::move(json);
    return object;
  }
};

Result<std::shared_ptr<const Object>> Object::parse(SharedBytes json, std::int64_t revision,
                                                    const std::vector<std::string_view>& extra_fields) {
  ObjectBuilder builder;
  if (!builder.read(*json, extra_fields)) return fail(Code::kInvalidArgument, "object: no metadata");
  if (revision == 0) revision = parse_int<std::int64_t>(builder.meta.resource_version).value_or(0);
  return builder.build(std::move(json), revision);
}

Result<std::shared_ptr<const Object>> Object::from_store(std::string_view stored, std::int64_t revision,
                                                         const std::vector<std::string_view>& extra_fields) {
  ObjectBuilder builder;
  if (!builder.read(stored, extra_fields)) return fail(Code::kDataLoss, "stored object: no metadata");
  std::string text;
  if (builder.meta.has_version) {  // written by someone else: take the old one out
    TRY_ASSIGN(json::Value tree, json::parse(stored));
    json::at_path(tree, {"metadata", "resourceVersion"}) = std::to_string(revision);
    text = json::format(tree);
  } else {
    const std::size_t at = builder.meta_begin + 1;
    const bool empty = stored[detail::skip_space(stored, at)] == '}';
    std::string version = std::to_string(revision);
    text.reserve(stored.size() + version.size() + sizeof R"("resourceVersion":"",)");
    text.append(stored.substr(0, at));
    text += cat("\"resourceVersion\":\"", version, empty ? "\"" : "\",");
    text.append(stored.substr(at));
  }
  return builder.build(share(std::move(text)), revision);
}

std::optional<std::string_view> Object::label(std::string_view name) const {
  std::optional<std::string_view> found;
  each_pair(labels_, [&](std::string_view key, std::string_view value) {
    if (key == name) found = value;
    return !found;
  });
  return found;
}

Object::Pairs Object::labels() const {
  Pairs out;
  each_pair(labels_, [&out](std::string_view key, std::string_view value) {
    out.emplace_back(key, value);
    return true;
  });
  return out;
}

std::string_view Object::field(std::string_view path) const {
  if (path == "metadata.name") return name();
  if (path == "metadata.namespace") return ns();
  std::string_view found;
  each_pair(fields_, [&](std::string_view key, std::string_view value) {
    if (key != path) return true;
    found = value;
    return false;
  });
  return found;
}

json::Value Object::tree(json::Arena& arena) const {
  Result<json::Value> value = json::parse_into(arena, *json_);
  return value ? std::move(*value) : json::Value(json::Object(arena.storage()));
}

json::Value Object::tree() const {
  Result<json::Value> value = json::parse(*json_);
  return value ? std::move(*value) : json::Value(json::Object());
}

}  // namespace monopod::api
