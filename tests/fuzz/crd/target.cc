// Custom kinds: a schema and an object of it, from one JSON document {"schema": …, "object": …, "pattern": …, "path": …}.
#include "api/crd/json_path.h"
#include "api/crd/settle.h"
#include "api/crd/structural.h"
#include "api/crd/validate.h"
#include "api/patch/managed_fields.h"
#include "base/strings.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

namespace {

json::Value definition_of(const json::Value& schema) {
  json::Value names = json::Object{{"plural", "widgets"}, {"singular", "widget"}, {"kind", "Widget"}, {"listKind", "WidgetList"}};
  json::Value version = json::Object{{"name", "v1"}, {"served", true}, {"storage", true}, {"schema", json::Object{{"openAPIV3Schema", schema}}}};
  return json::Object{{"metadata", json::Object{{"name", "widgets.example.com"}}},
                      {"spec", json::Object{{"group", "example.com"}, {"scope", "Namespaced"}, {"names", names}, {"versions", json::Array{version}}}}};
}

// What the server holds of an object: settled, and settled again it is the same; applied over itself it does not change.
void hold(const api::crd::CustomKind& kind, json::Value object) {
  const api::crd::CustomType& type = kind.storage->type_row;
  api::CanonicalOptions options;
  options.defaults = true;
  if (!api::crd::settle_tree(object, type, options)) return;
  json::Value again = object;
  fuzz::check(api::crd::settle_tree(again, type, options).has_value(), "a settled object settles");
  fuzz::check(json::format(again) == json::format(object), "a settled object is settled");
  api::FieldErrors errors, none;
  api::crd::validate_object(object, nullptr, *kind.storage, errors);
  api::crd::validate_object(object, &object, *kind.storage, none);
  bool takes_too_long = errors.text().contains("too long");
  fuzz::check(none.empty() || takes_too_long || kind.storage->scale, "what did not change is not judged");
  api::FieldManager who{"fuzz", "example.com/v1", "", WallTime()};
  auto applied = api::apply_configuration(nullptr, object, type, who, false);
  if (!applied) return;
  auto twice = api::apply_configuration(&applied->object, object, type, who, false);
  fuzz::check(!twice || twice->conflicts.empty(), "nobody conflicts with himself");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  MatchBudget budget{100'000};
  if (auto pattern = Pattern::compile(text)) (void)(*pattern)->matches(text, budget);
  auto document = json::parse(text, {.depth_max = 100});
  if (!document || !document->is_object()) return 0;
  if (auto pattern = Pattern::compile(json::get_string(*document, {"pattern"}))) (void)(*pattern)->matches(json::get_string(*document, {"text"}), budget);
  if (auto path = api::crd::parse_json_path(json::get_string(*document, {"path"}))) fuzz::check(api::crd::evaluate(*path, *document).size() <= api::crd::kPathResultsMax, "a path has few results");
  const json::Value* schema = json::find(*document, {"schema"});
  const json::Value* object = json::find(*document, {"object"});
  if (schema == nullptr || object == nullptr || !object->is_object()) return 0;
  const api::Type* props = api::find_type("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
  json::Value canonical = *schema;
  if (!api::canonicalize_tree(canonical, *props, {})) return 0;
  api::FieldErrors errors;
  api::crd::check_schema(canonical, api::Path("schema"), errors);
  json::Value definition = definition_of(canonical);
  auto kind = api::crd::make_kind(share(json::format(definition)), definition.at("spec").at("names"));
  fuzz::check(kind.has_value() || !errors.empty(), "a schema that was found good compiles");
  if (kind && errors.empty()) hold(**kind, *object);
  return 0;
}
