#include "api/openapi/openapi.h"

#include <set>
#include <vector>

#include "api/crd/openapi.h"
#include "api/openapi/schemas.h"
#include "api/openapi/v2.h"
#include "base/strings.h"
#include "codec/json.h"
#include "pki/digest.h"

namespace monopod::api {
namespace {

std::string path_of(std::string_view group, std::string_view version) {
  return group.empty() ? cat("api/", version) : cat("apis/", group, "/", version);
}

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

json::Object gvk(std::string_view group, std::string_view version, std::string_view kind) {
  return {{"group", group}, {"version", version}, {"kind", kind}};
}

json::Object parameter(std::string_view name, std::string_view type, std::string_view in = "query") {
  json::Object p{{"name", name}, {"in", in}, {"schema", json::Object{{"type", type}, {"uniqueItems", true}}}};
  if (in == "path") p["required"] = true;
  return p;
}

json::Object content(const json::Value& schema) {
  return {{"application/json", json::Object{{"schema", schema}}}, {"application/yaml", json::Object{{"schema", schema}}},
          {"application/vnd.kubernetes.protobuf", json::Object{{"schema", schema}}}};
}

json::Object component(std::string_view kind, std::string_view name) { return {{"$ref", cat("#/components/", kind, "/", name)}}; }

// The paths of one group version. What operations share (query parameters, answers, bodies) is said once, under components: kubectl
// parses the whole document at every apply, and so it takes a third of the time.
class Paths {
 public:
  explicit Paths(std::set<const Type*>& used) : used_(used) {}

  void add(const Resource& r) {
    std::string base = cat("/", path_of(r.group(), r.version()), r.namespaced ? "/namespaces/{namespace}/" : "/", r.plural());
    json::Object collection, item;
    if (r.has(kList)) collection["get"] = operation(r, "list", r.list_type(), nullptr);
    if (r.has(kCreate)) collection["post"] = operation(r, "post", &r.type(), &r.type());
    if (r.has(kDeleteCollection)) collection["delete"] = operation(r, "deletecollection", find_type("", "v1", "Status"), nullptr);
    if (r.has(kGet)) item["get"] = operation(r, "get", &r.type(), nullptr);
    if (r.has(kUpdate)) item["put"] = operation(r, "put", &r.type(), &r.type());
    if (r.has(kPatch)) item["patch"] = operation(r, "patch", &r.type(), find_type("io.k8s.apimachinery.pkg.apis.meta.v1.Patch"));
    if (r.has(kDelete)) item["delete"] = operation(r, "delete", find_type("", "v1", "Status"), find_type("", "v1", "DeleteOptions"));
    json::Array parameters{shared_parameter("pretty", "string")};
    if (r.namespaced) parameters.push_back(parameter("namespace", "string", "path"));
    collection["parameters"] = parameters;
    paths_[base] = std::move(collection);
    parameters.push_back(parameter("name", "string", "path"));
    item["parameters"] = parameters;
    paths_[base + "/{name}"] = std::move(item);
    if (r.namespaced && r.has(kList)) paths_[cat("/", path_of(r.group(), r.version()), "/", r.plural())] = json::Object{{"get", operation(r, "list", r.list_type(), nullptr)}, {"parameters", json::Array{shared_parameter("pretty", "string")}}};
    for (const Subresource& s : r.subresources()) add(r, s, base, parameters);
  }

  json::Object release() { return std::move(paths_); }
  json::Object release_parameters() { return std::move(parameters_); }
  json::Object release_responses() { return std::move(responses_); }
  json::Object release_request_bodies() { return std::move(request_bodies_); }

 private:
  void add(const Resource& r, const Subresource& s, const std::string& base, const json::Array& parameters) {
    const Type* type = s.kind().empty() ? &r.type() : find_type(s.group(), s.version(), s.kind());
    if (type == nullptr) return;  // connections are not described
    json::Object item{{"parameters", parameters}};
    for (auto [verb, method] : {std::pair(kGet, "get"), std::pair(kCreate, "post"), std::pair(kUpdate, "put"), std::pair(kPatch, "patch")}) {
      if ((s.verbs & verb) == 0) continue;
      json::Object op = operation(r, method, type, verb == kGet || verb == kPatch ? nullptr : type);
      if (!s.kind().empty()) op["x-kubernetes-group-version-kind"] = gvk(s.group(), s.version(), s.kind());
      item[method] = std::move(op);
    }
    paths_[cat(base, "/{name}/", s.name())] = std::move(item);
  }

  json::Value reference(const Type* type) {
    used_.insert(type);
    return json::Object{{"$ref", cat("#/components/schemas/", type->name())}};
  }

  json::Object shared_parameter(std::string_view name, std::string_view type) {
    if (!parameters_.contains(name)) parameters_[name] = parameter(name, type);
    return component("parameters", name);
  }

  json::Object shared_response(const Type* answer) {
    if (!responses_.contains(answer->name())) responses_[answer->name()] = json::Object{{"description", "OK"}, {"content", content(reference(answer))}};
    return component("responses", answer->name());
  }

  json::Object list_response(const crd::CustomResource& r) {
    std::string name = crd::openapi_list_name(r);
    if (!responses_.contains(name)) responses_[name] = json::Object{{"description", "OK"}, {"content", content(json::Object{{"$ref", cat("#/components/schemas/", name)}})}};
    used_.insert(find_type("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"));
    used_.insert(find_type("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
    return component("responses", name);
  }

  json::Object shared_body(const Type* body, bool required) {
    std::string name(required ? body->name() : cat(body->name(), ".optional"));
    if (!request_bodies_.contains(name)) request_bodies_[name] = json::Object{{"content", content(reference(body))}, {"required", required}};
    return component("requestBodies", name);
  }

  json::Object patch_body(bool strategic) {
    std::string_view kName = strategic ? "Patch" : "CustomPatch";
    if (!request_bodies_.contains(kName)) {
      json::Object types;
      for (const char* t : {"application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"})
        if (strategic || !std::string_view(t).contains("strategic")) types[t] = json::Object{{"schema", json::Object{{"type", "object"}}}};
      request_bodies_[kName] = json::Object{{"content", std::move(types)}, {"required", true}};
    }
    return component("requestBodies", kName);
  }

  json::Array parameters_of(std::string_view action) {
    json::Array parameters;
    auto add = [&](std::initializer_list<std::pair<const char*, const char*>> list) {
      for (auto [name, type] : list) parameters.push_back(shared_parameter(name, type));
    };
    if (action == "list" || action == "deletecollection")
      add({{"allowWatchBookmarks", "boolean"}, {"continue", "string"}, {"fieldSelector", "string"}, {"labelSelector", "string"}, {"limit", "integer"}, {"resourceVersion", "string"},
           {"resourceVersionMatch", "string"}, {"sendInitialEvents", "boolean"}, {"timeoutSeconds", "integer"}, {"watch", "boolean"}});
    if (action == "post" || action == "put" || action == "patch") {
      add({{"dryRun", "string"}, {"fieldManager", "string"}});
      parameters.push_back(parameter("fieldValidation", "string"));  // in place: kubectl looks for it by name and follows no reference
    }
    if (action == "patch") add({{"force", "boolean"}});
    if (action == "delete") add({{"dryRun", "string"}, {"gracePeriodSeconds", "integer"}, {"orphanDependents", "boolean"}, {"propagationPolicy", "string"}});
    return parameters;
  }

  json::Object operation(const Resource& r, std::string_view action, const Type* answer, const Type* body) {
    json::Object out{{"tags", json::Array{path_tag(r)}}, {"operationId", cat(action, path_tag(r), r.kind(), ++operations_)}};
    if (json::Array parameters = parameters_of(action); !parameters.empty()) out["parameters"] = std::move(parameters);
    if (action == "patch") out["requestBody"] = patch_body(!r.is_custom);
    else if (body != nullptr) out["requestBody"] = shared_body(body, action != "delete");
    if (answer != nullptr) out["responses"] = json::Object{{"200", shared_response(answer)}};
    if (r.is_custom && action == "list") out["responses"] = json::Object{{"200", list_response(*r.custom())}};
    out["x-kubernetes-action"] = action;
    out["x-kubernetes-group-version-kind"] = gvk(r.group(), r.version(), r.kind());
    return out;
  }

  static std::string path_tag(const Resource& r) { return r.group().empty() ? cat("core_", r.version()) : cat(r.group().substr(0, r.group().find('.')), "_", r.version()); }

  std::set<const Type*>& used_;
  json::Object paths_, parameters_, responses_, request_bodies_;
  int operations_ = 0;
};

}  // namespace

OpenApi::OpenApi(std::function<bool(const Resource&)> served) : served_(std::move(served)) {}

void OpenApi::set_kinds(std::shared_ptr<const crd::KindSet> kinds) {
  if (kinds->number == kinds_->number) return;
  // A document stays where all the kinds it speaks of stayed.
  auto forget = [this](const crd::KindSet& those, const crd::KindSet& other) {
    for (const auto& kind : those.kinds) {
      if (other.find(kind->names.group, kind->names.plural) == kind.get()) continue;
      for (const auto& version : kind->versions)
        if (auto at = documents_.find(path_of(version->group(), version->version())); at != documents_.end()) documents_.erase(at);
    }
  };
  forget(*kinds_, *kinds);
  forget(*kinds, *kinds_);
  kinds_ = std::move(kinds);
  index_ = nullptr;
  v2_json_.reset();
  v2_protobuf_.reset();
}

Result<const OpenApi::Document*> OpenApi::find(std::string_view path) {
  if (auto at = documents_.find(path); at != documents_.end()) return &at->second;
  std::set<const Type*> used;
  Paths paths(used);
  bool any = false;
  json::Object lists;
  kinds_->each([&](const Resource& r) {
    if (path_of(r.group(), r.version()) != path || (served_ && !served_(r))) return;
    paths.add(r);
    if (const crd::CustomResource* custom = r.custom()) lists[crd::openapi_list_name(*custom)] = crd::make_openapi_list_schema(*custom);
    any = true;
  });
  if (!any) return fail(Code::kNotFound, cat("openapi: no document ", path));
  json::Object schemas = openapi::make_schemas(used);
  for (auto& list : lists) schemas[list.key()] = std::move(list.value());
  json::Object document{{"openapi", "3.0.0"},
                        {"info", json::Object{{"title", "Kubernetes"}, {"version", "v1.35.0"}}},
                        {"paths", paths.release()},
                        {"components", json::Object{{"schemas", std::move(schemas)},
                                                    {"parameters", paths.release_parameters()},
                                                    {"responses", paths.release_responses()},
                                                    {"requestBodies", paths.release_request_bodies()},
                                                    {"securitySchemes", json::Object{{"BearerToken", json::Object{{"type", "apiKey"}, {"name", "authorization"}, {"in", "header"}}}}}}}};
  std::string text = json::format(document);
  std::string hash = upper(pki::sha512_hex(text));
  return &documents_.emplace(std::string(path), Document{share(std::move(text)), std::move(hash)}).first->second;
}

SharedBytes OpenApi::index() {
  if (index_ != nullptr) return index_;
  json::Object paths;
  kinds_->each([&](const Resource& r) {
    std::string path = path_of(r.group(), r.version());
    if (paths.contains(path)) return;
    auto document = find(path);
    if (!document) return;
    paths[path] = json::Object{{"serverRelativeURL", cat("/openapi/v3/", path, "?hash=", (*document)->hash)}};
  });
  index_ = share(json::format(json::Object{{"paths", std::move(paths)}}));
  return index_;
}

const OpenApi::Document& OpenApi::v2(bool protobuf) {
  std::optional<Document>& kept = protobuf ? v2_protobuf_ : v2_json_;
  if (kept) return *kept;
  std::set<std::string> paths;
  kinds_->each([&](const Resource& r) { paths.insert(path_of(r.group(), r.version())); });
  std::vector<json::Value> documents;
  for (const std::string& path : paths) {
    auto document = find(path);
    auto tree = document ? json::parse(*(*document)->bytes) : Result<json::Value>(json::Value());
    if (document && tree) documents.push_back(std::move(*tree));
  }
  json::Object made = openapi::make_v2(documents);
  std::string text = protobuf ? openapi::encode_v2(made) : json::format(made);
  std::string hash = upper(pki::sha512_hex(text));
  return kept.emplace(Document{share(std::move(text)), std::move(hash)});
}

Result<SharedBytes> OpenApi::document(std::string_view path) {
  TRY_ASSIGN(const Document* document, find(path));
  return document->bytes;
}

Result<std::string> OpenApi::hash(std::string_view path) {
  TRY_ASSIGN(const Document* document, find(path));
  return document->hash;
}

}  // namespace monopod::api
