// The tables of all kinds: resources, kinds, types and fields as constant data, and lookups over them. Everything points
// into static storage: no allocation, no start-up work, valid for ever. Facts of Kubernetes 1.35, made by kinds/generate.py.
//
// Custom kinds (crd/kind.h) have rows of the same two classes, Resource and Type, that live as long as their definition is served.
// The lookups here know the tables only; crd::Kinds knows both.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace monopod::api {

namespace crd {
struct CustomType;
struct CustomResource;
struct CustomKind;
}  // namespace crd

// What one value of a field is on the wire. Lists and maps say the kind of their elements.
enum class FieldKind : std::uint8_t {
  kString,
  kBytes,        // base64 text in JSON
  kInt32,
  kInt64,
  kDouble,
  kBool,
  kObject,       // Field::type()
  kQuantity,
  kTime,
  kMicroTime,
  kIntOrString,
  kStringList,   // the value of a map whose elements are lists of strings (ExtraValue)
  kRawObject,    // RawExtension: any JSON object
  kFieldsV1,
  kAny,          // any JSON value (apiextensions JSON)
  kSchemaOrArray,        // apiextensions JSONSchemaPropsOrArray
  kSchemaOrBool,
  kSchemaOrStringArray,
};
enum class Shape : std::uint8_t { kSingle, kList, kMap };
enum class ListType : std::uint8_t { kNone, kAtomic, kSet, kMap };  // kNone is atomic to server-side apply

class Type;

// One field of a type; a row of the table.
class Field {
 public:
  std::string_view name() const;             // as in JSON
  FieldKind kind() const { return kind_; }
  Shape shape() const { return shape_; }
  const Type* type() const;                  // of kObject (and of the kSchemaOr… kinds); null otherwise
  ListType list_type() const { return list_type_; }
  bool atomic_map() const { return (flags_ & kAtomicMap) != 0; }
  std::size_t list_key_count() const;        // list-map-keys
  std::string_view list_key(std::size_t i) const;
  std::string_view merge_key() const;        // patch-merge-key; empty where there is none
  bool patch_merge() const { return (flags_ & kPatchMerge) != 0; }            // patch-strategy merge
  bool patch_retain_keys() const { return (flags_ & kPatchRetainKeys) != 0; }  // patch-strategy retainKeys
  bool required() const { return (flags_ & kRequired) != 0; }   // never omitted on the wire: zero values are written
  bool nullable() const { return (flags_ & kPointer) != 0; }    // a zero value differs from an absent one
  bool always() const { return (flags_ & kAlways) != 0; }       // written even when empty: an object as {} ("status": {}), a time as null
  std::string_view default_value() const;    // a JSON scalar as text ("\"TCP\"", "420"); empty where there is none
  std::uint32_t proto_number() const { return proto_number_; }  // 0: not on the protobuf wire
  std::uint32_t proto_inline() const { return proto_inline_; }  // not 0: the field lives in an embedded message of this number

  enum Flags : std::uint8_t { kRequired = 1, kPointer = 2, kAlways = 4, kAtomicMap = 8, kPatchMerge = 16, kPatchRetainKeys = 32 };
  std::uint16_t name_, type_, keys_, merge_key_, default_, proto_number_;
  FieldKind kind_;
  Shape shape_;
  ListType list_type_;
  std::uint8_t flags_, proto_inline_;
};

class Type {
 public:
  std::string_view name() const;                  // "io.k8s.api.core.v1.PodSpec", the OpenAPI definition's name
  std::span<const Field> fields() const;          // sorted by name
  const Field* find(std::string_view name) const; // null where unknown
  const Field* find_proto(std::uint32_t number) const;        // a field of the message itself
  bool has_proto_inline(std::uint32_t number) const;          // an embedded message whose fields are listed here
  const Field* find_proto(std::uint32_t inlined, std::uint32_t number) const;
  bool atomic() const { return (flags_ & 1) != 0; }  // map-type atomic: one owner for the whole in server-side apply
  std::size_t index() const;                      // 0 .. types().size()-1
  // Of a custom kind: what is below apiVersion, kind and metadata stands in a schema. Null for a row of the tables.
  const crd::CustomType* custom() const;

  enum Flags : std::uint8_t { kAtomic = 1, kCustom = 2 };

  std::uint16_t name_, first_, count_;
  std::uint8_t flags_;
};
std::span<const Type> types();

enum Verb : std::uint16_t { kCreate = 1, kDelete = 2, kDeleteCollection = 4, kGet = 8, kList = 16, kPatch = 32, kUpdate = 64, kWatch = 128 };
// "create", …, in discovery's order.
std::string_view verb_name(Verb verb);

struct Subresource {
  std::string_view name() const;     // "status", "scale", "log", …
  std::string_view group() const;    // of the kind it speaks; empty is core
  std::string_view version() const;
  std::string_view kind() const;     // empty: the resource's own
  std::uint16_t name_, group_, version_, kind_, verbs;  // verbs: bits of Verb
};

struct Column {
  std::string_view name() const;
  std::string_view type() const;
  std::string_view format() const;
  std::uint16_t name_, type_, format_;
  std::uint8_t priority;
};

// One resource that discovery lists.
struct Resource {
  std::string_view group() const;
  std::string_view version() const;
  std::string_view group_version() const;     // "v1", "apps/v1": an object's apiVersion
  std::string_view plural() const;
  std::string_view singular() const;
  std::string_view kind() const;
  std::string list_kind() const;               // "PodList"
  std::size_t short_name_count() const;
  std::string_view short_name(std::size_t i) const;
  std::size_t category_count() const;
  std::string_view category(std::size_t i) const;
  std::string_view storage_version_hash() const;
  std::span<const Subresource> subresources() const;
  const Subresource* find_subresource(std::string_view name) const;
  std::span<const Column> columns() const;     // of as=Table; empty where upstream has none
  const Type& type() const;
  const Type* list_type() const;               // null where the resource is not listed
  bool has(Verb verb) const { return (verbs & verb) != 0; }

  std::uint16_t group_, version_, group_version_, plural_, singular_, kind_, short_names_, categories_, hash_, type_, list_type_;
  std::uint16_t verbs, first_subresource_, subresource_count_, first_column_, column_count_;
  bool namespaced;
  bool is_custom = false;
  const crd::CustomResource* custom() const;   // null for a row of the tables
};

std::span<const Resource> resources();  // sorted by group, version, plural; core ("") first
const Resource* find_resource(std::string_view group, std::string_view version, std::string_view plural);
const Resource* find_resource_of_kind(std::string_view group, std::string_view version, std::string_view kind);
// Any version of the group/plural (the storage version; each group has one version here but autoscaling).
const Resource* find_resource(std::string_view group, std::string_view plural);
// The same for a row of the tables; a custom kind's is itself.
const Resource& newest_version(const Resource& resource);

// The type of a top-level kind, listed or not: Pod, PodList, Scale, Eviction, Binding, TokenRequest, DeleteOptions, Status.
// DeleteOptions, Status and the other meta kinds are found in every group.
const Type* find_type(std::string_view group, std::string_view version, std::string_view kind);
const Type* find_type(std::string_view name);  // by Type::name()

struct GroupVersion {
  std::string_view group;
  std::string_view version;
  auto operator<=>(const GroupVersion&) const = default;
};
// "apps/v1" is {apps, v1}, "v1" is {"", v1}.
GroupVersion split_group_version(std::string_view api_version);

}  // namespace monopod::api
