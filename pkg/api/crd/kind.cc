#include "api/crd/kind.h"

#include <algorithm>
#include <tuple>

#include "api/kinds/behaviors.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "pki/digest.h"

namespace monopod::api::crd {
namespace {

using kinds::child;
using kinds::text;

constexpr std::uint16_t kVerbs = kCreate | kDelete | kDeleteCollection | kGet | kList | kPatch | kUpdate | kWatch;

std::vector<std::string> texts(const json::Value& names, std::string_view member) {
  std::vector<std::string> out;
  for (const json::Value& one : kinds::items(names, member))
    if (one.is_string()) out.emplace_back(one.get_string());
  return out;
}

// "com.example.v1.Widget" of example.com/v1 Widget.
std::string definition_name(std::string_view group, std::string_view version, std::string_view kind) {
  std::vector<std::string_view> parts = split(group, '.');
  std::string out;
  for (auto it = parts.rbegin(); it != parts.rend(); ++it) out += cat(*it, ".");
  return cat(out, version, ".", kind);
}

// GA is 2, beta 1, alpha 0, anything else -1; then the numbers.
std::tuple<int, int, int> version_rank(std::string_view version) {
  constexpr std::tuple<int, int, int> kOther{-1, 0, 0};
  if (!version.starts_with('v')) return kOther;
  version.remove_prefix(1);
  std::size_t digits = std::min(version.find_first_not_of("0123456789"), version.size());
  auto major = parse_int<int>(version.substr(0, digits));
  if (!major) return kOther;
  std::string_view rest = version.substr(digits);
  if (rest.empty()) return {2, *major, 0};
  int stability = rest.starts_with("beta") ? 1 : rest.starts_with("alpha") ? 0 : -1;
  auto minor = stability < 0 ? std::nullopt : parse_int<int>(rest.substr(stability == 1 ? 4 : 5));
  if (!minor) return kOther;
  return {stability, *major, *minor};
}

// Rows of the tables that custom ones are copied from, for what only a pool offset can name.
const Resource& model() { return *find_resource("apps", "v1", "deployments"); }

Result<std::unique_ptr<CustomResource>> make_version(const json::Value& spec, const json::Value& version, const CustomNames& names) {
  const Type* object = find_type("io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata");
  auto out = std::make_unique<CustomResource>(model(), *object);
  CustomResource& row = *out;
  row.is_custom = true;
  row.names = &names;
  row.version_name = text(version, "name");
  row.api_version = cat(names.group, "/", row.version_name);
  row.namespaced = text(spec, "scope") == "Namespaced";
  row.verbs = kVerbs;
  row.list_type_ = 0;
  row.column_count_ = 0;
  row.served = json::get_bool(version, {"served"});
  row.type_row.type_name = definition_name(names.group, row.version_name, names.kind);
  const json::Value* schema = json::find(version, {"schema", "openAPIV3Schema"});
  if (schema == nullptr) return fail(Code::kInvalidArgument, "no schema");
  TRY_ASSIGN(row.type_row.schema, compile_schema(*schema));
  row.type_row.has_status = json::find(version, {"subresources", "status"}) != nullptr;
  if (row.type_row.has_status) {
    Subresource status = *model().find_subresource("status");
    status.group_ = status.version_ = status.kind_ = 0;
    row.subresource_rows.push_back(status);
  }
  if (const json::Value* scale = json::find(version, {"subresources", "scale"})) {
    row.subresource_rows.push_back(*model().find_subresource("scale"));
    row.scale.emplace();
    TRY_ASSIGN(row.scale->spec_replicas, parse_simple_path(text(*scale, "specReplicasPath")));
    TRY_ASSIGN(row.scale->status_replicas, parse_simple_path(text(*scale, "statusReplicasPath")));
    if (std::string_view selector = text(*scale, "labelSelectorPath"); !selector.empty()) {
      TRY_ASSIGN(row.scale->label_selector, parse_simple_path(selector));
    }
  }
  for (const json::Value& column : kinds::items(version, "additionalPrinterColumns")) {
    CustomColumn made{std::string(text(column, "name")), std::string(text(column, "type")), std::string(text(column, "format")), std::string(text(column, "description")),
                      static_cast<std::int32_t>(json::get_int(column, {"priority"})), {}};
    TRY_ASSIGN(made.path, parse_json_path(text(column, "jsonPath")));
    row.column_rows.push_back(std::move(made));
  }
  for (const json::Value& field : kinds::items(version, "selectableFields"))
    if (std::string_view path = text(field, "jsonPath"); path.starts_with('.')) row.selectable.emplace_back(path.substr(1));
  if (json::get_bool(version, {"deprecated"})) {
    row.deprecation = text(version, "deprecationWarning");
    if (row.deprecation.empty()) row.deprecation = cat(row.api_version, " ", names.kind, " is deprecated");
  }
  return out;
}

}  // namespace

bool version_before(std::string_view a, std::string_view b) {
  auto x = version_rank(a), y = version_rank(b);
  return x != y ? x > y : a < b;
}

const CustomResource* CustomKind::find(std::string_view version) const {
  for (const auto& row : versions)
    if (row->served && row->version_name == version) return row.get();
  return nullptr;
}

Result<std::shared_ptr<const CustomKind>> make_kind(SharedBytes bytes, const json::Value& accepted) {
  TRY_ASSIGN(const json::Value definition, json::parse(*bytes));
  auto kind = std::make_shared<CustomKind>();
  const json::Value* spec = child(definition, "spec");
  if (spec == nullptr) return fail(Code::kInvalidArgument, "no spec");
  CustomNames& names = kind->names;
  names.group = text(*spec, "group");
  names.plural = text(accepted, "plural");
  names.singular = text(accepted, "singular");
  names.kind = text(accepted, "kind");
  names.list_kind = text(accepted, "listKind");
  names.short_names = texts(accepted, "shortNames");
  names.categories = texts(accepted, "categories");
  kind->definition = std::move(bytes);
  kind->uid = json::get_string(definition, {"metadata", "uid"});
  kind->namespaced = text(*spec, "scope") == "Namespaced";
  const json::Array& versions = kinds::items(*spec, "versions");
  bool uniform = true;
  for (const json::Value& version : versions) {
    TRY_ASSIGN(auto row, make_version(*spec, version, names));
    uniform = uniform && *child(version, "schema") == *child(versions[0], "schema");
    if (json::get_bool(version, {"storage"})) kind->storage = row.get();
    kind->versions.push_back(std::move(row));
  }
  if (kind->storage == nullptr) return fail(Code::kInvalidArgument, "no storage version");
  std::ranges::sort(kind->versions, [](const auto& a, const auto& b) { return version_before(a->version_name, b->version_name); });
  std::uint32_t ordinal = 0;
  for (auto& row : kind->versions) {
    row->stored = kind->storage;
    row->uniform = uniform;
    row->ordinal = ordinal++;
    row->kind_of = kind.get();
    row->type_row.row = row.get();
  }
  names.storage_hash = format_base64(pki::sha256(cat(names.group, "/", kind->storage->version_name, "/", names.kind)).substr(0, 8));
  return std::shared_ptr<const CustomKind>(std::move(kind));
}

}  // namespace monopod::api::crd
