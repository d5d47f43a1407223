// Definitions and schemas for the tests of custom kinds, written as YAML.
#pragma once

#include <gtest/gtest.h>

#include "api/crd/kind.h"
#include "api/kinds/kinds.h"
#include "api/schema/decode.h"
#include "base/strings.h"
#include "codec/yaml.h"

namespace monopod::api::crd {

inline json::Value yaml_value(std::string_view text) {
  auto parsed = yaml::parse(text);
  if (!parsed) ADD_FAILURE() << parsed.error().message() << "\n" << text;
  return parsed ? *parsed : json::Value();
}

// A definition of widgets.example.com with this schema below openAPIV3Schema (indented by nothing) and more lines of its one version.
inline json::Value widget_definition(std::string_view schema, std::string_view version_lines = {}) {
  json::Value out = yaml_value(R"(
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList, shortNames: [wd]}
  versions: [{name: v1, served: true, storage: true}]
)");
  json::Object& version = out.at("spec").at("versions").get_array()[0].get_object();
  if (!version_lines.empty())
    for (auto& m : yaml_value(version_lines).as_object()) version[m.key()] = m.value();
  version["schema"] = json::Object{{"openAPIV3Schema", yaml_value(schema)}};
  return out;
}

// As a write would bring it to the store, errors and all.
inline FieldErrors create_definition(json::Value& definition) {
  const Resource& row = *find_resource("apiextensions.k8s.io", "customresourcedefinitions");
  auto decoded = decode_tree(definition, {&row.type(), row.group_version(), row.kind()}, FieldValidation::kStrict);
  if (!decoded) {
    ADD_FAILURE() << decoded.error().message();
    return {};
  }
  definition = std::move(decoded->object);
  set_defaults(definition, row);
  prepare_create(definition, row);
  return validate_create(definition, row);
}

inline std::shared_ptr<const CustomKind> kind_of(json::Value definition) {
  FieldErrors errors = create_definition(definition);
  EXPECT_TRUE(errors.empty()) << errors.text();
  json::at_path(definition, {"metadata", "uid"}) = "u1";
  auto kind = make_kind(share(json::format(definition)), definition.at("spec").at("names"));
  if (!kind) ADD_FAILURE() << kind.error().message();
  return kind ? *kind : nullptr;
}

}  // namespace monopod::api::crd
