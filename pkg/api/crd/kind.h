// A kind that a CustomResourceDefinition makes: the rows that the rest of the server works from, as the tables have them for
// built-in kinds. Made when the definition is accepted or changes, never altered, kept by whoever still works with it.
#pragma once

#include <optional>

#include "api/crd/json_path.h"
#include "api/crd/schema.h"
#include "base/bytes.h"
#include "api/schema/schema.h"

namespace monopod::api::crd {

struct CustomNames {
  std::string group, plural, singular, kind, list_kind;
  std::vector<std::string> short_names, categories;
  std::string storage_hash;
};

struct CustomType : Type {
  explicit CustomType(const Type& row) : Type(row) { flags_ = kCustom; }
  std::string type_name;  // "com.example.v1.Widget", the OpenAPI definition's name
  SchemaPtr schema;       // never null
  bool has_status = false;
  const CustomResource* row = nullptr;
};

struct CustomKind;

struct CustomColumn {
  std::string name, type, format, description;
  std::int32_t priority = 0;
  JsonPath path;
};

struct ScalePaths {
  std::vector<std::string> spec_replicas, status_replicas, label_selector;  // member names; the selector's may be empty
};

// One version.
struct CustomResource : Resource {
  CustomResource(const Resource& row, const Type& type) : Resource(row), type_row(type) {}
  const CustomKind* kind_of = nullptr;
  const CustomNames* names = nullptr;
  const CustomResource* stored = nullptr;  // the version that the store holds
  std::string version_name, api_version;
  CustomType type_row;
  std::vector<Subresource> subresource_rows;
  std::vector<CustomColumn> column_rows;   // additionalPrinterColumns; none given: the age
  std::vector<std::string> selectable;     // dotted paths
  std::optional<ScalePaths> scale;
  std::string deprecation;                 // the warning of every answer; empty: none
  bool served = false;
  bool uniform = true;                     // every version has the same schema: what is stored is what each version shows
  std::uint32_t ordinal = 0;               // among the versions of its kind
};

struct CustomKind {
  CustomNames names;
  SharedBytes definition;  // the CustomResourceDefinition: its bytes are the cache's, and OpenAPI's source
  std::string uid;
  bool namespaced = false;
  std::vector<std::unique_ptr<CustomResource>> versions;  // most preferred first (KEP: GA, then beta, then alpha, newer first)
  const CustomResource* storage = nullptr;

  const CustomResource* find(std::string_view version) const;  // served ones only
};

// From a CustomResourceDefinition that was validated. accepted_names: status.acceptedNames as they will be.
Result<std::shared_ptr<const CustomKind>> make_kind(SharedBytes definition, const json::Value& accepted_names);

// "v1" before "v2beta1" before "v1beta1" before "v1alpha1" before "foo": true where a is to be preferred.
bool version_before(std::string_view a, std::string_view b);

}  // namespace monopod::api::crd
