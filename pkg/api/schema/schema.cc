#include "api/schema/schema.h"

#include <algorithm>
#include <tuple>

#include "api/crd/kind.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

struct KindRow {
  std::uint16_t group, version, kind, type;
};

#include "api/schema/tables.inc"

// A length byte, then the text.
std::string_view pooled(std::uint16_t offset) { return {kPool + offset + 1, static_cast<unsigned char>(kPool[offset])}; }

// "a,b,c" in the pool.
std::size_t item_count(std::string_view items) {
  return items.empty() ? 0 : static_cast<std::size_t>(std::ranges::count(items, ',')) + 1;
}
std::string_view item(std::string_view items, std::size_t i) {
  for (; i > 0; --i) items.remove_prefix(std::min(items.find(',') + 1, items.size()));
  return items.substr(0, items.find(','));
}

}  // namespace

std::string_view Field::name() const { return pooled(name_); }
const Type* Field::type() const { return type_ == 0 ? nullptr : &kTypes[type_ - 1]; }
std::size_t Field::list_key_count() const { return item_count(pooled(keys_)); }
std::string_view Field::list_key(std::size_t i) const { return item(pooled(keys_), i); }
std::string_view Field::merge_key() const { return pooled(merge_key_); }
std::string_view Field::default_value() const { return pooled(default_); }

std::string_view Type::name() const { return custom() != nullptr ? std::string_view(custom()->type_name) : pooled(name_); }
const crd::CustomType* Type::custom() const { return (flags_ & kCustom) != 0 ? static_cast<const crd::CustomType*>(this) : nullptr; }
std::span<const Field> Type::fields() const { return std::span<const Field>(kFields).subspan(first_, count_); }
std::size_t Type::index() const { return static_cast<std::size_t>(this - kTypes); }

// By hand: names part within their first letters, and most of what a write costs is looked up here.
const Field* Type::find(std::string_view name) const {
  auto rows = fields();
  std::size_t low = 0, high = rows.size();
  while (low < high) {
    std::size_t middle = (low + high) / 2, i = 0;
    std::string_view other = rows[middle].name();
    const std::size_t both = std::min(name.size(), other.size());
    while (i < both && name[i] == other[i]) ++i;
    if (i == both && name.size() == other.size()) return &rows[middle];
    bool less = i == both ? other.size() < name.size() : static_cast<unsigned char>(other[i]) < static_cast<unsigned char>(name[i]);
    if (less) low = middle + 1;
    else high = middle;
  }
  return nullptr;
}
const Field* Type::find_proto(std::uint32_t number) const {
  for (const Field& f : fields())
    if (f.proto_number_ == number && f.proto_inline_ == 0) return &f;
  return nullptr;
}
bool Type::has_proto_inline(std::uint32_t number) const {
  for (const Field& f : fields())
    if (f.proto_inline_ == number || (f.proto_inline_ >> 4 != 0 && (f.proto_inline_ & 15U) == number)) return true;
  return false;
}
const Field* Type::find_proto(std::uint32_t inlined, std::uint32_t number) const {
  for (const Field& f : fields())
    if (f.proto_number_ == number && f.proto_inline_ == inlined) return &f;
  return nullptr;
}

std::span<const Type> types() { return kTypes; }

std::string_view verb_name(Verb verb) {
  switch (verb) {
    case kCreate: return "create";
    case kDelete: return "delete";
    case kDeleteCollection: return "deletecollection";
    case kGet: return "get";
    case kList: return "list";
    case kPatch: return "patch";
    case kUpdate: return "update";
    case kWatch: return "watch";
  }
  return {};
}

std::string_view Subresource::name() const { return pooled(name_); }
std::string_view Subresource::group() const { return pooled(group_); }
std::string_view Subresource::version() const { return pooled(version_); }
std::string_view Subresource::kind() const { return pooled(kind_); }
std::string_view Column::name() const { return pooled(name_); }
std::string_view Column::type() const { return pooled(type_); }
std::string_view Column::format() const { return pooled(format_); }

const crd::CustomResource* Resource::custom() const { return is_custom ? static_cast<const crd::CustomResource*>(this) : nullptr; }
std::string_view Resource::group() const { return is_custom ? std::string_view(custom()->names->group) : pooled(group_); }
std::string_view Resource::version() const { return is_custom ? std::string_view(custom()->version_name) : pooled(version_); }
std::string_view Resource::group_version() const { return is_custom ? std::string_view(custom()->api_version) : pooled(group_version_); }
std::string_view Resource::plural() const { return is_custom ? std::string_view(custom()->names->plural) : pooled(plural_); }
std::string_view Resource::singular() const { return is_custom ? std::string_view(custom()->names->singular) : pooled(singular_); }
std::string_view Resource::kind() const { return is_custom ? std::string_view(custom()->names->kind) : pooled(kind_); }
std::string Resource::list_kind() const { return is_custom ? custom()->names->list_kind : cat(kind(), "List"); }
std::size_t Resource::short_name_count() const { return is_custom ? custom()->names->short_names.size() : item_count(pooled(short_names_)); }
std::string_view Resource::short_name(std::size_t i) const { return is_custom ? std::string_view(custom()->names->short_names[i]) : item(pooled(short_names_), i); }
std::size_t Resource::category_count() const { return is_custom ? custom()->names->categories.size() : item_count(pooled(categories_)); }
std::string_view Resource::category(std::size_t i) const { return is_custom ? std::string_view(custom()->names->categories[i]) : item(pooled(categories_), i); }
std::string_view Resource::storage_version_hash() const { return is_custom ? std::string_view(custom()->names->storage_hash) : pooled(hash_); }
std::span<const Subresource> Resource::subresources() const {
  if (is_custom) return custom()->subresource_rows;
  return std::span<const Subresource>(kSubresources).subspan(first_subresource_, subresource_count_);
}
const Subresource* Resource::find_subresource(std::string_view name) const {
  for (const Subresource& s : subresources())
    if (s.name() == name) return &s;
  return nullptr;
}
std::span<const Column> Resource::columns() const { return std::span<const Column>(kColumns).subspan(first_column_, column_count_); }
const Type& Resource::type() const { return is_custom ? static_cast<const Type&>(custom()->type_row) : kTypes[type_]; }
const Type* Resource::list_type() const { return list_type_ == 0 ? nullptr : &kTypes[list_type_ - 1]; }

std::span<const Resource> resources() { return kResources; }

// By hand, as Type::find: every request looks its resource up some times.
const Resource* find_resource(std::string_view group, std::string_view version, std::string_view plural) {
  std::size_t low = 0, high = std::size(kResources);
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    const Resource& row = kResources[middle];
    int order = pooled(row.group_).compare(group);
    if (order == 0) order = pooled(row.version_).compare(version);
    if (order == 0) order = pooled(row.plural_).compare(plural);
    if (order == 0) return &row;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return nullptr;
}
const Resource* find_resource_of_kind(std::string_view group, std::string_view version, std::string_view kind) {
  for (const Resource& r : kResources)
    if (r.kind() == kind && r.group() == group && r.version() == version) return &r;
  return nullptr;
}
const Resource* find_resource(std::string_view group, std::string_view plural) {
  auto rows = std::ranges::equal_range(kResources, group, {}, [](const Resource& r) { return r.group(); });
  auto at = std::ranges::find(std::ranges::rbegin(rows), std::ranges::rend(rows), plural, [](const Resource& r) { return r.plural(); });  // the newest version stands last
  return at == std::ranges::rend(rows) ? nullptr : &*at;
}

const Resource& newest_version(const Resource& resource) {
  const Resource* newest = &resource;
  if (!resource.is_custom)  // a text stands in the pool once
    for (const Resource* at = newest + 1; at != std::end(kResources) && at->group_ == resource.group_; ++at)
      if (at->plural_ == resource.plural_) newest = at;
  return *newest;
}

const Type* find_type(std::string_view group, std::string_view version, std::string_view kind) {
  auto key = [](const KindRow& r) { return std::tuple(pooled(r.group), pooled(r.version), pooled(r.kind)); };
  auto look = [&](std::string_view g, std::string_view v) -> const Type* {
    auto at = std::ranges::lower_bound(kKinds, std::tuple(g, v, kind), {}, key);
    return at != std::end(kKinds) && key(*at) == std::tuple(g, v, kind) ? &kTypes[at->type] : nullptr;
  };
  if (const Type* t = look(group, version)) return t;
  // Meta kinds are registered in every group and version.
  const Type* t = look("", "v1");
  return t != nullptr && t->name().starts_with("io.k8s.apimachinery.") ? t : nullptr;
}
const Type* find_type(std::string_view name) {
  auto at = std::ranges::lower_bound(kTypes, name, {}, &Type::name);
  return at != std::end(kTypes) && at->name() == name ? at : nullptr;
}

GroupVersion split_group_version(std::string_view api_version) {
  std::size_t slash = api_version.rfind('/');
  if (slash == std::string_view::npos) return {{}, api_version};
  return {api_version.substr(0, slash), api_version.substr(slash + 1)};
}

}  // namespace monopod::api
