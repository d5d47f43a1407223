#include "api/schema/sample.h"

namespace monopod::api {
namespace {

json::Value single(const Field& field, Rng& rng, int depth) {
  auto n = static_cast<std::int64_t>(rng.below(1000) + 1);
  switch (field.kind()) {
    case FieldKind::kString: return json::Value("s" + std::to_string(n));
    case FieldKind::kBytes: return "AQID";
    case FieldKind::kInt32: return rng.below(5) == 0 ? -n : n;
    case FieldKind::kInt64: return rng.below(5) == 0 ? -n : n * 1000000007;
    case FieldKind::kDouble: return static_cast<double>(n) / 4;
    case FieldKind::kBool: return true;
    case FieldKind::kObject: return make_sample(*field.type(), rng, depth - 1);
    case FieldKind::kQuantity: return json::Value(std::to_string(n) + (rng.below(2) == 0 ? "m" : "Mi"));
    case FieldKind::kTime: return "2026-01-02T03:04:05Z";
    case FieldKind::kMicroTime: return "2026-01-02T03:04:05.000006Z";
    case FieldKind::kIntOrString: return rng.below(2) == 0 ? json::Value(n) : json::Value("25%");
    case FieldKind::kStringList: return json::Array{"a", "b"};
    case FieldKind::kRawObject:
    case FieldKind::kFieldsV1: return json::Object{{"f:x", json::Object{{".", json::Object()}}}};
    case FieldKind::kAny: return json::Array{1, "two", nullptr};
    case FieldKind::kSchemaOrArray:
    case FieldKind::kSchemaOrStringArray: return json::Object{{"type", "string"}};
    case FieldKind::kSchemaOrBool: return rng.below(2) == 0 ? json::Value(false) : json::Value(json::Object{{"type", "string"}});
  }
  return nullptr;
}

}  // namespace

json::Value make_sample(const Type& type, Rng& rng, int depth_max) {
  json::Object out;
  for (const Field& field : type.fields()) {
    if (field.proto_number() == 0) continue;  // apiVersion and kind: the caller knows them
    if (depth_max <= 0 && (field.kind() == FieldKind::kObject || field.kind() >= FieldKind::kSchemaOrArray)) continue;
    switch (field.shape()) {
      case Shape::kSingle: out[field.name()] = single(field, rng, depth_max); break;
      case Shape::kList: out[field.name()] = json::Array{single(field, rng, depth_max), single(field, rng, depth_max)}; break;
      case Shape::kMap: out[field.name()] = json::Object{{"k2", single(field, rng, depth_max)}, {"k1", single(field, rng, depth_max)}}; break;
    }
  }
  return out;
}

}  // namespace monopod::api
