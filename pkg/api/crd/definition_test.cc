// What makes a CustomResourceDefinition good, and how a bad one is refused.
#include <algorithm>

#include "api/crd/limits.h"
#include "api/crd/naming.h"
#include "api/crd/structural.h"
#include "api/crd/testing.h"
#include "api/patch/patch.h"

namespace monopod::api::crd {
namespace {

std::string errors_of_schema(std::string_view schema) {
  json::Value definition = widget_definition(schema);
  FieldErrors errors = create_definition(definition);
  std::string text = errors.empty() ? "" : errors.text();
  constexpr std::string_view kWhere = "spec.versions[0].schema.openAPIV3Schema.";
  return text.starts_with(kWhere) ? text.substr(kWhere.size()) : text;
}

TEST(Definition, SchemasMustBeStructural) {
  struct Case {
    std::string_view schema, message;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"{type: object}", ""},
           {"{}", "type: Required value: must not be empty at the root"},
           {"{type: string}", R"(type: Invalid value: "string": must be object at the root)"},
           {"{type: object, properties: {a: {}}}", "properties[a].type: Required value: must not be empty for specified object fields"},
           {"{type: object, properties: {a: {type: array}}}", "properties[a].items: Required value: must be specified"},
           {"{type: object, properties: {a: {type: array, items: {}}}}", "properties[a].items.type: Required value: must not be empty for specified array items"},
           {"{type: object, properties: {a: {$ref: x, type: string}}}", "properties[a].$ref: Forbidden: $ref is not supported"},
           {"{type: object, properties: {a: {type: array, items: [{type: string}]}}}", "properties[a].items: Forbidden: items must be a schema object and not an array"},
           {"{type: object, properties: {a: {type: array, uniqueItems: true, items: {type: string}}}}",
            "properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"},
           {"{type: object, properties: {a: {type: object, additionalProperties: {type: string}, properties: {b: {type: string}}}}}",
            "properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"},
           {"{type: object, properties: {a: {type: string, pattern: '('}}}",
            "properties[a].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(`"},
           {"{type: object, properties: {a: {type: object, anyOf: [{properties: {b: {minimum: 1}}}]}}}",
            "properties[a].properties[b]: Required value: because it is defined in spec.versions[0].schema.openAPIV3Schema.properties[a].anyOf[0].properties[b]"},
           {"{type: object, properties: {a: {type: string, anyOf: [{type: string}]}}}", "properties[a].anyOf[0].type: Forbidden: must be empty to be structural"},
           {"{type: object, properties: {a: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}}}", ""},
           {"{type: object, properties: {a: {x-kubernetes-int-or-string: true, allOf: [{anyOf: [{type: integer}, {type: string}]}, {pattern: '^a'}]}}}", ""},
           {"{type: object, properties: {metadata: {type: object, properties: {labels: {type: object}}}}}",
            "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified"},
           {"{type: object, properties: {metadata: {type: object, properties: {name: {type: string, maxLength: 5}}}}}", ""},
           {"{type: object, properties: {a: {type: array, x-kubernetes-list-type: map, items: {type: object}}}}",
            "properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"},
           {"{type: object, properties: {a: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [k], items: {type: object, properties: {k: {type: string}}}}}}",
            "properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"},
           {"{type: object, properties: {a: {type: string, x-kubernetes-list-type: set}}}", R"(properties[a].type: Invalid value: "string": must be array if x-kubernetes-list-type is specified)"},
           {"{type: object, properties: {a: {type: integer, default: x}}}",
            R"(properties[a].default: Invalid value: "string": spec.versions[0].schema.openAPIV3Schema.properties[a].default in body must be of type integer: "string")"},
           {"{type: object, properties: {a: {type: object, default: {b: 1}}}}", R"(properties[a].default: Invalid value: {"b":1}: must not have unknown fields)"},
           {"{type: object, properties: {a: {type: object, x-kubernetes-embedded-resource: true}}}",
            "properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"},
           {"{type: object, properties: {a: {type: string, x-kubernetes-validations: [{rule: 'self != \"\"'}]}}}",
            "properties[a].x-kubernetes-validations: Forbidden: validation rules (CEL) are not supported by this server: an object that breaks them would be taken"},
       })
    EXPECT_EQ(errors_of_schema(c.schema), c.message) << c.schema;
}

TEST(Definition, FieldsAreChecked) {
  struct Case {
    std::string_view pointer, value, message;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"/metadata/name", "x.example.com", R"(metadata.name: Invalid value: "x.example.com": must be spec.names.plural+"."+spec.group)"},
           {"/spec/scope", "Planet", R"(spec.scope: Unsupported value: "Planet": supported values: "Cluster", "Namespaced")"},
           {"/spec/names/kind", "WidgetList", R"(spec.names.listKind: Invalid value: "WidgetList": kind and listKind may not be the same)"},
           {"/spec/versions/0/storage", "false", R"(spec.versions: Invalid value: ["v1"]: must have exactly one version marked as storage version)"},
           {"/spec/versions/0/additionalPrinterColumns", "[{name: a, type: text, jsonPath: .spec}]",
            R"(spec.versions[0].additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string)"},
           {"/spec/versions/0/subresources", "{scale: {specReplicasPath: .status.n, statusReplicasPath: .status.n}}",
            R"(spec.versions[0].subresources.scale.specReplicasPath: Invalid value: ".status.n": should be a json path under .spec)"},
           {"/spec/versions/0/selectableFields", "[{jsonPath: .spec.none}]",
            R"(spec.versions[0].selectableFields[0].jsonPath: Invalid value: ".spec.none": is an invalid path: does not refer to a valid field)"},
           {"/spec/versions/0/deprecationWarning", "old", R"(spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions)"},
           {"/spec/conversion", "{strategy: Webhook}", "spec.conversion.strategy: Forbidden: conversion webhooks are not supported by this server, only strategy None"},
           {"/spec/preserveUnknownFields", "true",
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"},
       }) {
    json::Value definition = widget_definition("{type: object}");
    auto changed = apply_json_patch(definition, json::Array{json::Object{{"op", "add"}, {"path", c.pointer}, {"value", yaml_value(c.value)}}});
    ASSERT_TRUE(changed) << c.pointer;
    definition = *changed;
    FieldErrors errors = create_definition(definition);
    EXPECT_EQ(errors.empty() ? "" : errors.text(), c.message) << c.pointer;
  }
}

TEST(Definition, GroupsOfKubernetesNeedApproval) {
  json::Value definition = widget_definition("{type: object}");
  definition.at("spec").at("group") = "things.k8s.io";
  definition.at("metadata").at("name") = "widgets.things.k8s.io";
  EXPECT_TRUE(create_definition(definition).text().contains("protected groups must have approval annotation \"api-approved.kubernetes.io\", see"));
  definition.at("metadata").get_object()["annotations"] = json::Object{{std::string(kApproval), "because"}};
  EXPECT_TRUE(create_definition(definition).text().contains("with either a URL or a reason starting with \"unapproved\""));
  definition.at("metadata").at("annotations").at(std::string(kApproval)) = "unapproved, experimental-only";
  EXPECT_TRUE(create_definition(definition).empty());
  apply_naming(definition, decide_names(definition, {}), WallTime{});
  EXPECT_EQ(condition_status(definition, "KubernetesAPIApprovalPolicyConformant"), "False");
}

TEST(Definition, IsBoundedInDepthVersionsAndColumns) {
  auto nested = [](int levels) {
    std::string schema = "{type: object}";
    for (int i = 0; i < levels; ++i) schema = cat("{type: object, properties: {a: ", schema, "}}");
    return schema;
  };
  EXPECT_EQ(errors_of_schema(nested(40)), "");
  json::Value deep = yaml_value("{type: object}");
  for (int i = 0; i <= kSchemaDepthMax; ++i) deep = json::Object{{"type", "object"}, {"properties", json::Object{{"a", std::move(deep)}}}};
  FieldErrors errors;
  check_schema(deep, Path("s"), errors);
  EXPECT_EQ(errors.text(), cat("s: Invalid value: \"\": schema: nested deeper than ", kSchemaDepthMax));
  json::Value wide = yaml_value("{type: object, properties: {}}");
  for (std::size_t i = 0; i < kSchemaNodesMax; ++i) wide.at("properties").as_object()[cat("p", i)] = json::Object{{"type", "string"}};
  FieldErrors too_many;
  check_schema(wide, Path("s"), too_many);
  EXPECT_EQ(too_many.text(), cat("s: Invalid value: \"\": schema: more than ", kSchemaNodesMax, " nodes"));
  json::Value definition = widget_definition("{type: object}");
  json::Array& versions = definition.at("spec").at("versions").as_array();
  json::Value one = versions[0];
  one.as_object()["storage"] = false;
  for (std::size_t i = 1; i < kVersionsMax; ++i) {
    one.as_object()["name"] = cat("v", i + 1);
    versions.push_back(one);
  }
  json::Value copy = definition;
  EXPECT_TRUE(create_definition(copy).empty());
  one.as_object()["name"] = "v99";
  versions.push_back(one);
  EXPECT_EQ(create_definition(definition).text(), cat("spec.versions: Too many: ", kVersionsMax + 1, ": must have at most ", kVersionsMax, " items"));
}

TEST(Definition, NamesAreGivenOnce) {
  json::Value first = widget_definition("{type: object}"), second = first;
  second.at("metadata").at("name") = "others.example.com";
  second.at("spec").at("names").at("plural") = "others";
  NamingDecision decision = decide_names(second, {{"widgets.example.com", first.at("spec").at("names")}});
  EXPECT_FALSE(decision.all);
  EXPECT_EQ(decision.condition.reason, "ListKindConflict");
  EXPECT_EQ(json::get_string(decision.accepted, {"plural"}), "others");
  EXPECT_EQ(json::get_string(decision.accepted, {"kind"}), "");
  json::Value builtin = first;
  builtin.at("spec").at("group") = "apps";
  EXPECT_EQ(decide_names(builtin, {}).condition.reason, "GroupConflict");
  WallTime now{};
  EXPECT_TRUE(apply_naming(first, decide_names(first, {}), now));
  EXPECT_EQ(condition_status(first, "Established"), "True");
  EXPECT_FALSE(apply_naming(first, decide_names(first, {}), now + std::chrono::seconds(5)));  // nothing more to write
}

TEST(Definition, VersionsAreOrderedAsClientsPreferThem) {
  std::vector<std::string_view> versions{"foo10", "v1alpha1", "v11alpha2", "v2", "v12", "foo1", "v3beta1", "v11beta2", "v1", "v10beta3"};
  std::ranges::sort(versions, version_before);
  EXPECT_EQ(versions, (std::vector<std::string_view>{"v12", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v11alpha2", "v1alpha1", "foo1", "foo10"}));
}

TEST(Definition, PathsOfColumnsFindWhatTheySay) {
  json::Value object = yaml_value("{status: {conditions: [{type: Ready, status: 'True'}, {type: Synced, status: 'False'}], count: 3, list: [a, b]}, metadata: {annotations: {a.b/c: x}}}");
  auto found = [&](std::string_view path) {
    auto parsed = parse_json_path(path);
    if (!parsed) return parsed.error().message();
    std::vector<std::string> out;
    for (const json::Value* v : evaluate(*parsed, object)) out.push_back(json::format(*v));
    return join(out, " ");
  };
  EXPECT_EQ(found(".status.count"), "3");
  EXPECT_EQ(found("{.status.count}"), "3");
  EXPECT_EQ(found(".status.conditions[?(@.type==\"Ready\")].status"), "\"True\"");
  EXPECT_EQ(found(".status.conditions[?(@.type == 'Synced')].status"), "\"False\"");
  EXPECT_EQ(found(".status.conditions[*].type"), "\"Ready\" \"Synced\"");
  EXPECT_EQ(found(".status.list[-1]"), "\"b\"");
  EXPECT_EQ(found(".status.list[5]"), "");
  EXPECT_EQ(found("..type"), "\"Ready\" \"Synced\"");
  EXPECT_EQ(found(".metadata.annotations.a\\.b/c"), "\"x\"");
  EXPECT_EQ(found(".metadata.annotations['a.b/c']"), "\"x\"");
  EXPECT_EQ(found("status"), "json path status: unexpected character s");
  EXPECT_EQ(found(".a[?(x)]"), "json path .a[?(x)]: a filter compares something of @");
}

}  // namespace
}  // namespace monopod::api::crd
