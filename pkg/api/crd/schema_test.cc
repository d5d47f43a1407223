// Pruning, defaults and validation of custom objects by their schemas.
#include "api/crd/limits.h"
#include "api/crd/settle.h"
#include "api/crd/testing.h"
#include "api/crd/validate.h"

namespace monopod::api::crd {
namespace {

json::Value widget(std::string_view rest) {
  json::Value out = yaml_value(rest);
  out.as_object()["apiVersion"] = "example.com/v1";
  out.as_object()["kind"] = "Widget";
  if (!out.as_object().contains("metadata")) out.as_object()["metadata"] = json::Object{{"name", "w"}, {"namespace", "default"}};
  return out;
}

json::Value spec_of(const CustomKind& kind, std::string_view text, std::vector<std::string>* unknown = nullptr) {
  json::Value object = widget(text);
  CanonicalOptions options;
  options.defaults = true;
  options.unknown = unknown;
  auto done = settle_tree(object, kind.storage->type_row, options);
  EXPECT_TRUE(done);
  json::Value again = object;
  EXPECT_TRUE(settle_tree(again, kind.storage->type_row, options));
  EXPECT_EQ(json::format(again), json::format(object));  // settled twice is settled once
  const json::Value* spec = json::find(object, {"spec"});
  return spec == nullptr ? json::Value() : *spec;
}

std::string errors_of(const CustomKind& kind, std::string_view text) {
  json::Value object = widget(text);
  CanonicalOptions options;
  options.defaults = true;
  EXPECT_TRUE(settle_tree(object, kind.storage->type_row, options));
  FieldErrors errors;
  validate_object(object, nullptr, *kind.storage, errors);
  return errors.empty() ? "" : errors.text();
}

std::shared_ptr<const CustomKind> kind_with(std::string_view spec_schema) {
  return kind_of(widget_definition(cat("type: object\nproperties:\n  spec:\n    ", spec_schema)));
}

TEST(CustomSchema, UnknownFieldsArePruned) {
  auto kind = kind_with(R"({type: object, properties: {
    size: {type: integer},
    list: {type: array, items: {type: object, properties: {a: {type: string}}}},
    labels: {type: object, additionalProperties: {type: string}},
    free: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {known: {type: object, properties: {a: {type: string}}}}},
    empty: {type: object},
    pod: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}}})");
  std::vector<std::string> unknown;
  json::Value spec = spec_of(*kind, R"({spec: {size: 1, colour: red, list: [{a: x, b: y}], labels: {k: v}, free: {any: {b: 1, a: 2}, known: {a: x, z: 1}}, empty: {a: 1},
    pod: {apiVersion: v1, kind: Pod, metadata: {name: p, foo: bar}, spec: {z: 1}}}, extra: 1})", &unknown);
  EXPECT_EQ(json::format(spec), R"({"empty":{},"free":{"any":{"a":2,"b":1},"known":{"a":"x"}},"labels":{"k":"v"},"list":[{"a":"x"}],)"
                                R"("pod":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"z":1}},"size":1})");
  std::ranges::sort(unknown);
  EXPECT_EQ(join(unknown, " "), "extra spec.colour spec.empty.a spec.free.known.z spec.list[0].b spec.pod.metadata.foo");
}

TEST(CustomSchema, DefaultsComeAtEveryLevelAndNullsGo) {
  auto kind = kind_with(R"({type: object, default: {}, properties: {
    replicas: {type: integer, default: 3},
    mode: {type: string, default: fast},
    maybe: {type: string, nullable: true, default: x},
    plain: {type: string},
    loud: {type: boolean, default: false},
    ports: {type: array, items: {type: object, required: [port], properties: {port: {type: integer}, protocol: {type: string, default: TCP}}}},
    deep: {type: object, default: {a: {}}, properties: {a: {type: object, properties: {b: {type: integer, default: 7}}}}}}})");
  EXPECT_EQ(json::format(spec_of(*kind, "{}")), R"({"deep":{"a":{"b":7}},"loud":false,"maybe":"x","mode":"fast","replicas":3})");
  EXPECT_EQ(json::format(spec_of(*kind, "{spec: {mode: null, maybe: null, plain: null, replicas: 0, ports: [{port: 1}], deep: {}}}")),
            R"({"deep":{},"loud":false,"maybe":null,"mode":"fast","ports":[{"port":1,"protocol":"TCP"}],"replicas":0})");
}

TEST(CustomSchema, ErrorsAreWordedAsUpstream) {
  auto kind = kind_with(R"({type: object, required: [size], properties: {
    size: {type: integer, minimum: 1, maximum: 10},
    ratio: {type: number, exclusiveMinimum: true, minimum: 0, multipleOf: 0.5},
    name: {type: string, minLength: 2, maxLength: 5, pattern: '^[a-z]+$'},
    colour: {type: string, enum: [red, green]},
    when: {type: string, format: date-time},
    addr: {type: string, format: ipv4},
    list: {type: array, minItems: 1, maxItems: 2, items: {type: string}},
    map: {type: object, minProperties: 1, maxProperties: 2, additionalProperties: {type: integer}},
    set: {type: array, x-kubernetes-list-type: set, items: {type: string}},
    keyed: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name], properties: {name: {type: string}, v: {type: integer}}}},
    port: {x-kubernetes-int-or-string: true},
    one: {type: object, properties: {a: {type: string}, b: {type: string}}, oneOf: [{required: [a]}, {required: [b]}]},
    any: {type: object, properties: {a: {type: string}, b: {type: string}}, anyOf: [{required: [a]}, {required: [b]}]},
    not: {type: string, not: {enum: [bad]}},
    all: {type: integer, allOf: [{minimum: 2}, {maximum: 4}]}}})");
  struct Case {
    std::string_view spec, message;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"{size: 3}", ""},
           {"{}", "spec.size: Required value"},
           {"{size: x}", R"(spec.size: Invalid value: "string": spec.size in body must be of type integer: "string")"},
           {"{size: 2.5}", R"(spec.size: Invalid value: "number": spec.size in body must be of type integer: "number")"},
           {"{size: 3.0}", ""},
           {"{size: 0}", "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"},
           {"{size: 11}", "spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10"},
           {"{size: 1, ratio: 0}", "spec.ratio: Invalid value: 0: spec.ratio in body should be greater than 0"},
           {"{size: 1, ratio: 0.75}", "spec.ratio: Invalid value: 7.5E-1: spec.ratio in body should be a multiple of 0.5"},
           {"{size: 1, name: a}", R"(spec.name: Invalid value: "a": spec.name in body should be at least 2 chars long)"},
           {"{size: 1, name: abcdef}", "spec.name: Too long: may not be more than 5 bytes"},
           {"{size: 1, name: AB}", R"(spec.name: Invalid value: "AB": spec.name in body should match '^[a-z]+$')"},
           {"{size: 1, colour: blue}", R"(spec.colour: Unsupported value: "blue": supported values: "green", "red")"},
           {"{size: 1, when: today}", R"(spec.when: Invalid value: "today": spec.when in body must be of type date-time: "today")"},
           {"{size: 1, addr: 1.2.3}", R"(spec.addr: Invalid value: "1.2.3": spec.addr in body must be of type ipv4: "1.2.3")"},
           {"{size: 1, list: []}", "spec.list: Invalid value: 0: spec.list in body should have at least 1 items"},
           {"{size: 1, list: [a, b, c]}", "spec.list: Too many: 3: must have at most 2 items"},
           {"{size: 1, map: {}}", "spec.map: Invalid value: 0: spec.map in body should have at least 1 properties"},
           {"{size: 1, map: {a: x}}", R"(spec.map.a: Invalid value: "string": spec.map.a in body must be of type integer: "string")"},
           {"{size: 1, set: [a, b, a]}", R"(spec.set[2]: Duplicate value: "a")"},
           {"{size: 1, keyed: [{name: a}, {name: a, v: 2}]}", R"(spec.keyed[1]: Duplicate value: {"name":"a"})"},
           {"{size: 1, port: 80}", ""},
           {"{size: 1, port: http}", ""},
           {"{size: 1, port: true}", R"(spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean")"},
           {"{size: 1, one: {a: x}}", ""},
           {"{size: 1, one: {a: x, b: z}}", R"(<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found 2 valid alternatives)"},
           {"{size: 1, any: {}}", R"([spec.any.a: Required value, <nil>: Invalid value: "": "spec.any" must validate at least one schema (anyOf)])"},
           {"{size: 1, not: bad}", R"(<nil>: Invalid value: "": "spec.not" must not validate the schema (not))"},
           {"{size: 1, all: 5}", "spec.all: Invalid value: 5: spec.all in body should be less than or equal to 4"},
       })
    EXPECT_EQ(errors_of(*kind, cat("spec: ", c.spec)), c.message) << c.spec;
}

TEST(CustomSchema, WhatHasNotChangedIsNotJudgedAgain) {
  auto kind = kind_with(R"({type: object, properties: {size: {type: integer, maximum: 3}, other: {type: string},
    keyed: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name], properties: {name: {type: string}, v: {type: integer, maximum: 1}}}}}})");
  json::Value old = widget("spec: {size: 9, other: a, keyed: [{name: a, v: 5}]}"), now = widget("spec: {size: 9, other: b, keyed: [{name: b, v: 1}, {name: a, v: 5}]}");
  FieldErrors errors;
  validate_object(now, &old, *kind->storage, errors);
  EXPECT_TRUE(errors.empty()) << errors.text();
  now.at("spec").at("size") = 8;
  validate_object(now, &old, *kind->storage, errors);
  EXPECT_EQ(errors.text(), "spec.size: Invalid value: 8: spec.size in body should be less than or equal to 3");
}

TEST(CustomSchema, FormatsOfUpstreamAreChecked) {
  for (auto [format, good, bad] : std::initializer_list<std::tuple<std::string_view, std::string_view, std::string_view>>{
           {"uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810"}, {"cidr", "10.0.0.0/8", "10.0.0.0"}, {"ipv6", "::1", "1.2.3.4"}, {"email", "a@b.c", "a@"},
           {"uri", "https://a.b/c", "a b"}, {"hostname", "a-b.c", "-a"}, {"mac", "00:11:22:33:44:55", "00:11"}, {"duration", "1h30m", "soon"}, {"byte", "aGk=", "a*"},
           {"date", "2026-02-28", "2026-2-28"}, {"hexcolor", "#fff", "#ff"}, {"isbn10", "0306406152", "0306406153"}, {"creditcard", "4111111111111111", "4111111111111112"}}) {
    auto kind = kind_with(cat("{type: object, properties: {v: {type: string, format: ", format, "}}}"));
    EXPECT_EQ(errors_of(*kind, cat("spec: {v: \"", good, "\"}")), "") << format;
    EXPECT_NE(errors_of(*kind, cat("spec: {v: \"", bad, "\"}")), "") << format;
  }
}

TEST(CustomSchema, AnObjectThatTakesTooLongIsRefused) {
  auto kind = kind_with(R"({type: object, properties: {list: {type: array, items: {type: string, pattern: '^(.*a){100}$'}}}})");
  std::string text = "spec: {list: [";
  for (int i = 0; i < 20; ++i) text += cat("\"", std::string(20'000, 'a'), "\",");
  std::string errors = errors_of(*kind, text + "a]}");
  EXPECT_TRUE(errors.contains("takes too long to validate")) << errors.substr(0, 500);
}

TEST(CustomSchema, DefaultsCannotMakeASmallObjectLarge) {
  auto kind = kind_with(cat("{type: object, properties: {list: {type: array, items: {type: object, properties: {a: {type: string, default: ", std::string(100'000, 'x'), "}}}}}}"));
  std::string text = "spec: {list: [";
  for (int i = 0; i < 10'000; ++i) text += "{},";
  json::Value object = widget(text + "{}]}");
  CanonicalOptions options;
  options.defaults = true;
  EXPECT_TRUE(settle_tree(object, kind->storage->type_row, options));
  EXPECT_LT(json::format(object).size(), kDefaultBytesMax + (1U << 20));
  FieldErrors errors;
  validate_object(object, nullptr, *kind->storage, errors);
  EXPECT_TRUE(errors.text().contains("Required value: the defaults of this object are larger than 4194304 bytes"));
}

TEST(CustomSchema, LongEnumsAndManyKeysStayCheap) {
  std::string values;
  for (int i = 0; i < 20'000; ++i) values += cat("v", i, ",");
  auto kind = kind_with(cat("{type: object, properties: {list: {type: array, items: {type: string, enum: [", values, "x]}}}}"));
  json::Value object = widget("spec: {list: []}");
  for (int i = 0; i < 10'000; ++i) object.at("spec").at("list").as_array().emplace_back("x");
  FieldErrors errors;
  validate_object(object, nullptr, *kind->storage, errors);
  EXPECT_TRUE(errors.text().contains("takes too long to validate")) << errors.text().substr(0, 300);
}

TEST(CustomSchema, ErrorsOfOneObjectAreBounded) {
  auto kind = kind_with(R"({type: object, properties: {list: {type: array, items: {type: integer}}}})");
  json::Value object = widget("spec: {list: []}");
  for (int i = 0; i < 10'000; ++i) object.at("spec").at("list").as_array().emplace_back("x");
  FieldErrors errors;
  validate_object(object, nullptr, *kind->storage, errors);
  EXPECT_EQ(errors.errors().size(), kErrorsMax);
}

}  // namespace
}  // namespace monopod::api::crd
