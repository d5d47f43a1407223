// The verbs over HTTP: decode what was sent, call the operation, render the answer.
#include <algorithm>

#include "api/kinds/kinds.h"
#include "api/limits.h"
#include "api/protobuf/protobuf.h"
#include "api/schema/field_error.h"
#include "api/serve/works.h"
#include "base/duration.h"
#include "base/strings.h"
#include "codec/yaml.h"

namespace monopod::api {
namespace {

constexpr std::string_view kConnectSubresources[] = {"log", "exec", "attach", "portforward", "proxy"};

bool is_connect(const Call& call) {
  for (std::string_view name : kConnectSubresources)
    if (call.subresource == name) return true;
  return false;
}

async::Task<Outcome<std::string>> read_body(http::Exchange& exchange) {
  Result<std::string> body = co_await exchange.read_body(kBodyBytesMax);
  if (!body && body.error().message().find("too large") != std::string::npos)
    co_return refuse(too_large(cat("Request entity too large: limit is ", kBodyBytesMax)));
  if (!body) co_return refuse(bad_request(body.error().message()));
  co_return std::move(*body);
}

// Answers to reviews have no metadata and so no other form than their own: 406 for who wants a Table alone.
Outcome<Rendering> rendering_of(const HttpCall& call, const Resource& resource) {
  OUT_ASSIGN(Media media, negotiate(accept_of(call.exchange.request()), {.views = !is_review(resource), .protobuf = !resource.is_custom}));
  auto include = parse_include_object(call.info.query.get("includeObject"));
  if (!include) return refuse(bad_request(include.error().message()));
  return Rendering{&resource, media, *include};
}

// The answer for the audit log: JSON, whatever the client takes.
void record_answer(HttpCall& call, const Rendering& how, const Answer& answer, std::string_view sent) {
  if (how.media.encoding == Encoding::kJson) return call.record->response(sent);
  call.record->response(answer.object ? *requested_json(how, *answer.object) : json::format(answer.tree));
}

async::Task<Outcome<>> send(HttpCall& call, const Call& api_call, const Rendering& how, const Answer& answer) {
  WallTime now = call.works.parts.time.wall();
  Outcome<SharedBytes> bytes = answer.object ? render_object(how, *answer.object, now) : render_tree(how.media, answer.tree);
  CO_OUT(bytes);
  if (how.media.view == View::kTable && api_call.subresource == "scale")
    bytes = share(make_scale_table(answer.tree, {.include = how.include, .api_version = how.media.meta_version()}, now));
  if (call.record != nullptr && call.record->wants_response()) record_answer(call, how, answer, **bytes);
  http::Headers headers{{"content-type", content_type_of(how.media.encoding)}};
  add_warnings(headers, api_call.warnings);
  co_return co_await respond(call, answer.code, std::move(headers), *bytes);
}

async::Task<Outcome<json::Value>> sent_object(HttpCall& call, Call& api_call, const Subresource* subresource) {
  std::string_view type = call.exchange.request().headers.find("content-type").value_or("");
  CO_OUT_ASSIGN(Encoding encoding, body_encoding(type));
  if (encoding == Encoding::kProtobuf && api_call.resource->is_custom)
    co_return refuse(unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml"));
  CO_OUT_ASSIGN(std::string body, co_await read_body(call.exchange));
  if (body.empty()) co_return refuse(bad_request("the request body is empty"));
  CO_OUT_ASSIGN(FieldValidation validation, parse_field_validation(api_call.options.field_validation));
  BodyTarget target = call.works.operations.body_target(api_call, subresource);
  if (target.type == nullptr) co_return refuse(method_not_supported(api_call.ref(), api_call.verb));
  Outcome<json::Value> object = co_await decode_body(call.works.parts.pool, std::move(body), encoding, std::move(target), validation, api_call.warnings);
  if (call.record != nullptr && object) call.record->request(*object);
  co_return object;
}

Outcome<PatchType> patch_type(bool custom, std::string_view content_type) {
  std::string type = to_lower(trim(split_once(content_type, ';').first));
  if (type == "application/json-patch+json") return PatchType::kJson;
  if (type == "application/merge-patch+json") return PatchType::kMerge;
  if (type == "application/strategic-merge-patch+json" && !custom) return PatchType::kStrategic;
  if (type == "application/apply-patch+yaml") return PatchType::kApply;
  if (custom)  // there are no merge keys to merge by
    return refuse(unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
        "application/merge-patch+json, application/apply-patch+yaml"));
  return refuse(unsupported_media_type(
      "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
      "application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"));
}

// Keys that stand twice; of a JSON patch also members that no operation has.
std::vector<std::string> patch_faults(PatchType type, std::string_view body, const json::Value& patch) {
  std::vector<std::string> out = duplicate_fields(body, patch);
  if (type != PatchType::kJson) return out;
  if (const json::Array* operations = patch.if_array()) {
    for (std::size_t i = 0; i < operations->size(); ++i) {
      if (!(*operations)[i].is_object()) continue;
      for (const auto& member : (*operations)[i].get_object())
        if (std::string_view name = member.key(); name != "op" && name != "path" && name != "from" && name != "value") out.push_back(cat("unknown field \"[", i, "].", name, "\""));
    }
  }
  for (std::string& fault : out) fault = cat("json patch ", fault);
  return out;
}

async::Task<Outcome<Answer>> do_patch(HttpCall& call, Call& api_call) {
  CO_OUT_ASSIGN(PatchType type, patch_type(api_call.resource->is_custom, call.exchange.request().headers.find("content-type").value_or("")));
  CO_OUT_ASSIGN(std::string body, co_await read_body(call.exchange));
  if (type == PatchType::kApply && call.record == nullptr) {  // what is recorded is parsed
    api_call.apply_digest = digest_of_apply(api_call, body);
    CO_OUT_ASSIGN(ObjectPtr same, co_await call.works.operations.reapply(api_call));
    if (same) co_return Answer{200, same, {}};
  }
  std::vector<std::string> twice;
  json::Arena arena;  // of a configuration: nothing of one is in the answer of an object itself
  json::Arena* place = api_call.subresource.empty() ? &arena : nullptr;
  Result<json::Value> patch = type == PatchType::kApply ? yaml::parse_noting_twice(body, twice, {}, place) : json::parse(body);
  CO_OUT_ASSIGN(FieldValidation validation, parse_field_validation(api_call.options.field_validation));
  if (!twice.empty() && validation == FieldValidation::kStrict)
    co_return refuse(bad_request(cat("error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  ", join(twice, "\n  "))));
  if (validation == FieldValidation::kWarn) api_call.warnings.insert(api_call.warnings.end(), twice.begin(), twice.end());
  if (!patch) co_return refuse(bad_request(cat(type == PatchType::kApply ? "error decoding YAML: " : "error decoding patch: ", patch.error().message())));
  if (type != PatchType::kApply && validation != FieldValidation::kIgnore) api_call.patch_faults = patch_faults(type, body, *patch);
  if (call.record != nullptr) call.record->request(*patch, true);
  co_return co_await call.works.operations.patch(api_call, type, std::move(*patch));
}

Outcome<DeleteOptions> options_in(const json::Value& body) {
  DeleteOptions out;
  if (const json::Value* grace = json::find(body, {"gracePeriodSeconds"}); grace != nullptr && grace->is_int64())
    out.grace_period_seconds = grace->get_int64();
  out.propagation_policy = json::get_string(body, {"propagationPolicy"});
  if (const json::Value* orphan = json::find(body, {"orphanDependents"}); orphan != nullptr && orphan->is_bool()) {
    if (!out.propagation_policy.empty())
      return refuse(bad_request("orphanDependents and deletionPropagation cannot be both set"));
    out.propagation_policy = orphan->get_bool() ? "Orphan" : "Background";
  }
  out.uid = json::get_string(body, {"preconditions", "uid"});
  out.resource_version = json::get_string(body, {"preconditions", "resourceVersion"});
  const json::Array* dry = json::get_array(body, {"dryRun"});
  out.dry_run = dry != nullptr && !dry->empty();
  return out;
}

async::Task<Outcome<DeleteOptions>> delete_options(HttpCall& call, Call& api_call) {
  CO_OUT_ASSIGN(std::string body, co_await read_body(call.exchange));
  DeleteOptions out;
  if (!body.empty()) {
    CO_OUT_ASSIGN(Encoding encoding, body_encoding(call.exchange.request().headers.find("content-type").value_or("")));
    BodyTarget target{find_type("", "v1", "DeleteOptions"), "v1", "DeleteOptions"};
    CO_OUT_ASSIGN(json::Value tree, decode_body_now(body, encoding, target, FieldValidation::kIgnore, api_call.warnings));
    if (call.record != nullptr) call.record->request(tree, true);
    CO_OUT_ASSIGN(out, options_in(tree));
  }
  const QueryParams& query = call.info.query;
  if (query.has("gracePeriodSeconds")) {
    auto grace = parse_int<std::int64_t>(query.get("gracePeriodSeconds"));
    if (!grace) co_return refuse(bad_request("gracePeriodSeconds must be a number"));
    out.grace_period_seconds = grace;
  }
  if (query.has("propagationPolicy")) out.propagation_policy = query.get("propagationPolicy");
  if (query.has("orphanDependents")) out.propagation_policy = query.flag("orphanDependents") ? "Orphan" : "Background";
  out.dry_run = out.dry_run || api_call.options.dry_run;
  co_return out;
}

// Kinds whose delete answers with the object even when it is gone; all others then answer with a Status.
bool returns_deleted(const Resource& resource) {
  if (!resource.group().empty()) return false;
  for (std::string_view plural : {"pods", "services", "serviceaccounts", "persistentvolumes", "persistentvolumeclaims", "podtemplates", "resourcequotas"})
    if (resource.plural() == plural) return true;
  return false;
}

async::Task<Outcome<>> do_delete(HttpCall& call, Call& api_call, const Rendering& how) {
  CO_OUT_ASSIGN(DeleteOptions options, co_await delete_options(call, api_call));
  CO_OUT_ASSIGN(Removed removed, co_await call.works.registry.remove(api_call, std::move(options)));
  Answer answer;
  answer.object = removed.object;
  if (removed.gone && !returns_deleted(*api_call.resource)) {
    auto status = json::parse(success_json(api_call.ref(), api_call.name, removed.object->uid()));
    answer = {200, nullptr, status ? *status : json::Value(json::Object())};
  }
  co_return co_await send(call, api_call, how, answer);
}

async::Task<Outcome<>> do_delete_collection(HttpCall& call, Call& api_call, const Rendering& how) {
  CO_OUT_ASSIGN(DeleteOptions options, co_await delete_options(call, api_call));
  ListOptions which{.label_selector = call.info.query.get("labelSelector"), .field_selector = call.info.query.get("fieldSelector")};
  CO_OUT_ASSIGN(ListResult removed, co_await call.works.registry.remove_all(api_call, std::move(which), std::move(options)));
  std::string text = list_head(how, removed);
  for (const ObjectPtr& object : removed.items) {
    if (text.back() != '[') text += ',';
    text += *list_item(how, *object);
  }
  text += "]}";
  if (call.record != nullptr) call.record->response(text);
  http::Headers headers{{"content-type", "application/json"}};
  co_return co_await respond(call, 200, std::move(headers), share(std::move(text)));
}

}  // namespace

Outcome<WriteOptions> write_options(const QueryParams& query, std::string_view verb, bool apply) {
  WriteOptions out;
  static constexpr std::pair<std::string_view, std::string_view> kKinds[] = {
      {"create", "CreateOptions"}, {"update", "UpdateOptions"}, {"patch", "PatchOptions"}, {"delete", "DeleteOptions"}, {"deletecollection", "DeleteOptions"}};
  auto kind = std::ranges::find(kKinds, verb, &std::pair<std::string_view, std::string_view>::first);
  if (kind == std::end(kKinds)) return out;  // reads have none
  FieldErrors errors;
  bool deletes = verb.starts_with("delete");
  if (!deletes) out.field_manager = query.get("fieldManager");
  if (out.field_manager.size() > 128) errors.too_long(Path("fieldManager"), 128);
  if (!deletes) out.field_validation = query.get("fieldValidation");
  if (!out.field_validation.empty() && !parse_field_validation(out.field_validation))
    errors.not_supported(Path("fieldValidation"), json::Value(out.field_validation), {"", "Ignore", "Strict", "Warn"});
  std::vector<std::string> dry = query.all("dryRun");
  out.dry_run = !dry.empty();
  if (std::ranges::any_of(dry, [](const std::string& value) { return value != "All"; })) {
    json::Array values;
    for (const std::string& value : dry) values.emplace_back(value);
    errors.not_supported(Path("dryRun"), json::Value(std::move(values)), {"All"});
  }
  if (verb == "patch") {
    out.force = query.flag("force");
    if (!apply && query.has("force")) errors.forbidden(Path("force"), "may not be specified for non-apply patch");
    if (apply && out.field_manager.empty()) errors.required(Path("fieldManager"), "is required for apply patch");
  }
  if (errors.empty()) return out;
  std::vector<StatusCause> causes;
  for (const FieldError& error : errors.errors()) causes.push_back({std::string(cause_reason(error.reason)), error.message, error.field});
  return refuse(invalid("meta.k8s.io", kind->second, "", std::move(causes)));
}

// The query parameter timeout of what does not run long: how long the client gives us. We answer before any that makes sense.
Outcome<void> check_timeout(const QueryParams& query) {
  std::string text = query.get("timeout");
  if (text.empty()) return {};
  std::string_view magnitude = text;
  if (magnitude.starts_with('-') || magnitude.starts_with('+')) magnitude.remove_prefix(1);
  if (parse_duration(magnitude)) return {};
  return refuse(bad_request(cat("invalid timeout specified in the request URL - time: invalid duration \"", text, "\"")));
}

async::Task<Outcome<>> serve_resource(HttpCall& call) {
  const RequestInfo& info = call.info;
  Call api_call;
  if (!find_served(call.works, info.group, info.version, info.resource, api_call)) co_return refuse(page_not_found());
  call.served = true;
  const Resource* resource = api_call.resource;
  api_call.user = call.user;
  api_call.verb = info.verb;
  api_call.ns = resource->namespaced ? info.ns : (info.resource == "namespaces" ? std::string() : info.ns);
  api_call.name = info.parts.size() > 1 ? info.parts[1] : "";
  api_call.subresource = info.subresource;
  api_call.user_agent = call.exchange.request().headers.find("user-agent").value_or("");
  bool apply = info.verb == "patch" && call.exchange.request().headers.find("content-type").value_or("").starts_with("application/apply-patch");
  CO_OUT_ASSIGN(api_call.options, write_options(info.query, info.verb, apply));
  CO_OUT_ASSIGN(const Subresource* subresource, call.works.operations.check(api_call));
  if (std::string_view deprecated = deprecation(*resource); !deprecated.empty()) api_call.warnings.emplace_back(deprecated);
  if (is_connect(api_call)) co_return co_await serve_connect(call, api_call);
  if (info.verb == "watch") co_return co_await serve_watch(call, api_call);
  CO_OUT(check_timeout(info.query));
  if (info.verb == "list") co_return co_await serve_list(call, api_call);

  CO_OUT_ASSIGN(Rendering how, rendering_of(call, *resource));
  if (info.verb == "delete" && api_call.subresource.empty()) co_return co_await do_delete(call, api_call, how);
  if (info.verb == "deletecollection") co_return co_await do_delete_collection(call, api_call, how);
  Answer answer;
  if (info.verb == "get") {
    CO_OUT_ASSIGN(answer, co_await call.works.operations.get(api_call, info.query.get("resourceVersion")));
  } else if (info.verb == "create") {
    CO_OUT_ASSIGN(json::Value body, co_await sent_object(call, api_call, subresource));
    CO_OUT_ASSIGN(answer, co_await call.works.operations.create(api_call, std::move(body)));
  } else if (info.verb == "update") {
    CO_OUT_ASSIGN(json::Value body, co_await sent_object(call, api_call, subresource));
    CO_OUT_ASSIGN(answer, co_await call.works.operations.update(api_call, std::move(body)));
  } else if (info.verb == "patch") {
    CO_OUT_ASSIGN(answer, co_await do_patch(call, api_call));
  } else {
    co_return refuse(method_not_supported(api_call.ref(), info.verb));
  }
  co_return co_await send(call, api_call, how, answer);
}

}  // namespace monopod::api
