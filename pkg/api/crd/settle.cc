#include "api/crd/settle.h"

#include <algorithm>
#include <cmath>

#include "api/crd/limits.h"
#include "base/strings.h"

namespace monopod::api::crd {
namespace {

constexpr std::size_t kUnknownMax = 100;
constexpr double kWholeMax = 9'007'199'254'740'992.0;  // 2^53: whole numbers a double holds exactly

const Field& metadata_field(const Type& type) { return *type.find("metadata"); }

class Settle {
 public:
  Settle(const CanonicalOptions& options, const Type& row) : options_(options), row_(row) {}

  Result<> root(json::Value& tree, const CustomType& type) {
    if (!tree.is_object()) return fail(Code::kInvalidArgument, "json: cannot unmarshal a value that is no object");
    json::Object& in = tree.get_object();
    for (const char* name : {"apiVersion", "kind"}) {
      const json::Value* v = in.if_contains(name);
      if (v != nullptr && !v->is_null() && !v->is_string()) return fail(Code::kInvalidArgument, cat("json: cannot unmarshal ", name, " that is no string"));
    }
    TRY(metadata(in, options_.add_required));
    members(tree, *type.schema, true);
    if (error_) return fail(*error_);
    return {};
  }

  void one(json::Value& value, const Schema& schema) {
    if (value.is_object()) {
      if (schema.embedded) {
        auto done = metadata(value.get_object(), false);
        if (!done && !error_) error_ = done.error();
      }
      bool described = schema.type == SchemaType::kObject || !schema.properties.empty() || schema.additional || schema.preserve_unknown;
      if (described || schema.type == SchemaType::kAny) members(value, schema, schema.embedded);
      else plain(value);
    } else if (json::Array* array = value.if_array()) {
      if (!schema.items) return plain(value);
      std::size_t length = path_.size();
      for (std::size_t i = 0; i < array->size(); ++i) {
        path_ += cat("[", i, "]");
        one((*array)[i], *schema.items);
        path_.resize(length);
      }
    } else {
      plain(value);
    }
  }

 private:
  // ObjectMeta by its own table, here and in embedded resources.
  Result<> metadata(json::Object& in, bool make) {
    json::Value* meta = in.if_contains("metadata");
    if (meta != nullptr && meta->is_null()) {
      in.erase("metadata");
      meta = nullptr;
    }
    if (meta == nullptr) {
      if (!make) return {};
      meta = &(in["metadata"] = json::Object());
    }
    std::vector<std::string> unknown;
    CanonicalOptions options = options_;
    options.add_required = make;
    options.unknown = options_.unknown == nullptr ? nullptr : &unknown;
    TRY(canonicalize_tree(*meta, *metadata_field(row_).type(), options));
    for (const std::string& path : unknown) report(cat(prefix(), "metadata.", path));
    return {};
  }

  std::string prefix() const { return path_.empty() ? std::string() : cat(path_, "."); }
  void report(std::string path) {
    if (options_.unknown != nullptr && options_.unknown->size() < kUnknownMax) options_.unknown->push_back(std::move(path));
  }

  // What no schema speaks of is kept as it is, in one spelling.
  static void plain(json::Value& value) {
    if (json::Array* array = value.if_array()) {
      for (json::Value& item : *array) plain(item);
    } else if (json::Object* object = value.if_object()) {
      for (auto& m : *object) plain(m.value());
      sort(value);
    } else if (value.is_double() && std::abs(value.get_double()) < kWholeMax && value.get_double() == std::trunc(value.get_double())) {
      value = static_cast<std::int64_t>(value.get_double());
    }
  }

  static void sort(json::Value& value) {
    json::Object& in = value.get_object();
    bool sorted = std::ranges::is_sorted(in, {}, [](auto& m) { return std::string_view(m.key()); });
    if (sorted) return;
    std::vector<json::Object::iterator> order;
    for (auto it = in.begin(); it != in.end(); ++it) order.push_back(it);
    std::ranges::sort(order, {}, [](const auto& it) { return std::string_view(it->key()); });
    json::Object out(value.storage());
    out.reserve(in.size());
    for (auto& it : order) out.emplace(it->key(), std::move(it->value()));
    value = std::move(out);
  }

  void members(json::Value& value, const Schema& schema, bool is_resource) {
    json::Object& object = value.get_object();
    std::vector<std::string> gone;
    for (auto& m : object) {
      std::string_view name = m.key();
      if (is_resource && (name == "apiVersion" || name == "kind" || name == "metadata")) continue;
      const Schema* below = schema.member(name);
      if (below == nullptr && !schema.preserve_unknown && !schema.any_additional) {
        report(prefix() + std::string(name));
        gone.emplace_back(name);
        continue;
      }
      if (m.value().is_null() && below != nullptr && !below->nullable && !options_.keep_zero) {
        gone.emplace_back(name);
        continue;
      }
      if (below == nullptr) {
        plain(m.value());
        continue;
      }
      std::size_t length = path_.size();
      path_ = prefix() + std::string(name);
      one(m.value(), *below);
      path_.resize(length);
    }
    for (const std::string& name : gone) object.erase(name);
    if (options_.defaults && schema.has_defaults) defaults(object, schema);
    sort(value);
  }

  void defaults(json::Object& object, const Schema& schema) {
    for (auto& [name, property] : schema.properties) {
      if (property->default_value == nullptr || object.contains(name)) continue;
      grown_ += property->default_bytes;
      if (grown_ > kDefaultBytesMax) return;  // validation finds what is missing
      json::Value made = *property->default_value;
      one(made, *property);  // a default may have defaults in it
      object[name] = std::move(made);
    }
  }

  const CanonicalOptions& options_;
  const Type& row_;
  std::string path_;
  std::optional<Error> error_;
  std::size_t grown_ = 0;  // bytes that defaults added
};

}  // namespace

Result<> settle_tree(json::Value& tree, const CustomType& type, const CanonicalOptions& options) { return Settle(options, type).root(tree, type); }

void prune_value(json::Value& value, const Schema& schema) {
  CanonicalOptions options;
  options.keep_zero = true;
  Settle(options, *find_type("io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata")).one(value, schema);
}

Result<std::string> settle_stored(std::string_view stored, const CustomResource& resource) {
  TRY_ASSIGN(json::Value tree, json::parse(stored));
  CanonicalOptions options;
  options.defaults = true;
  TRY(settle_tree(tree, resource.type_row, options));
  json::Object& object = tree.get_object();
  object["apiVersion"] = resource.api_version;
  object["kind"] = resource.names->kind;
  return json::format(tree);
}

}  // namespace monopod::api::crd
