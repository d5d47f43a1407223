#include "tests/robustness/api/request_fuzzer.h"

#include "api/protobuf/protobuf.h"
#include "api/request_info.h"
#include "api/schema/canonical.h"
#include "api/schema/sample.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "codec/yaml.h"

namespace monopod::api {
namespace {

constexpr std::size_t kRememberedMax = 64;
constexpr std::string_view kNames[] = {"a", "b", "c", "default", "x.example.com"};
constexpr std::string_view kSpaces[] = {"default", "default", "kube-system", "other", "none"};

struct Base {
  std::string_view plural, body;
};
// Objects that are right, without their names.
constexpr Base kBases[] = {
    {"pods", R"({"spec":{"nodeName":"n1","containers":[{"name":"c","image":"i","env":[{"name":"e","value":"v"}],"ports":[{"containerPort":80}],"resources":{"requests":{"cpu":"1"}}}]}})"},
    {"deployments", R"({"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"},
    {"replicasets", R"({"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"},
    {"statefulsets", R"({"spec":{"serviceName":"s","selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"},
    {"daemonsets", R"({"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})"},
    {"jobs", R"({"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}})"},
    {"cronjobs", R"({"spec":{"schedule":"* * * * *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}})"},
    {"services", R"({"spec":{"ports":[{"name":"p","port":80}],"selector":{"a":"b"}}})"},
    {"endpoints", R"({"subsets":[{"addresses":[{"ip":"10.0.0.1"}],"ports":[{"port":80}]}]})"},
    {"endpointslices", R"({"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}],"ports":[{"port":80}]})"},
    {"configmaps", R"({"data":{"k":"v"},"binaryData":{"b":"AQID"}})"},
    {"secrets", R"({"type":"Opaque","data":{"k":"AQID"},"stringData":{"s":"t"}})"},
    {"horizontalpodautoscalers", R"({"spec":{"maxReplicas":3,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"a"}}})"},
    {"poddisruptionbudgets", R"({"spec":{"minAvailable":1,"selector":{"matchLabels":{"a":"b"}}}})"},
    {"roles", R"({"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]})"},
    {"clusterroles", R"({"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]})"},
    {"rolebindings", R"({"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"a"},"subjects":[{"kind":"User","name":"u","apiGroup":"rbac.authorization.k8s.io"}]})"},
    {"clusterrolebindings", R"({"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"a"},"subjects":[{"kind":"User","name":"u","apiGroup":"rbac.authorization.k8s.io"}]})"},
    {"networkpolicies", R"({"spec":{"podSelector":{},"ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0/8"}}]}]}})"},
    {"ingresses", R"({"spec":{"rules":[{"host":"h","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}}]}})"},
    {"leases", R"({"spec":{"holderIdentity":"h","leaseDurationSeconds":15}})"},
    {"resourcequotas", R"({"spec":{"hard":{"pods":"100","requests.cpu":"100","count/configmaps":"1000"}}})"},
    {"limitranges", R"({"spec":{"limits":[{"type":"Container","default":{"cpu":"1"},"max":{"cpu":"9"}}]}})"},
    {"persistentvolumes", R"({"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/x"}}})"},
    {"persistentvolumeclaims", R"({"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})"},
    {"priorityclasses", R"({"value":7})"},
    {"storageclasses", R"({"provisioner":"p"})"},
    {"nodes", R"({"spec":{"podCIDR":"10.0.0.0/24"},"status":{"capacity":{"cpu":"4"}}})"},
    {"events", R"({"involvedObject":{"kind":"Pod","name":"p","namespace":"default"},"reason":"R","message":"m","type":"Normal"})"},
    {"flowschemas", R"({"spec":{"priorityLevelConfiguration":{"name":"global-default"},"matchingPrecedence":500,"rules":[{"subjects":[{"kind":"User","user":{"name":"u"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"clusterScope":true,"namespaces":["*"]}]}]}})"},
    {"prioritylevelconfigurations", R"({"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":5,"limitResponse":{"type":"Queue","queuing":{"queues":4,"handSize":2,"queueLengthLimit":5}}}}})"},
    {"customresourcedefinitions", R"({"spec":{"group":"example.com","names":{"plural":"x","kind":"X"},"scope":"Namespaced","versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"n":{"type":"integer","default":3}}}}}}}]}})"},
    {"certificatesigningrequests", R"({"spec":{"request":"QUJD","signerName":"example.com/s","usages":["client auth"]}})"},
    {"tokenreviews", R"({"spec":{"token":"t"}})"},
    {"subjectaccessreviews", R"({"spec":{"user":"u","resourceAttributes":{"verb":"get","resource":"pods","namespace":"default"}}})"},
    {"selfsubjectrulesreviews", R"({"spec":{"namespace":"default"}})"},
};

constexpr std::string_view kStrings[] = {"", " ", "\t\n", "a", "..", "../../x", "%2e%2e", "A", "-1", "0", "true", "null", "1e999", "99999999999999999999", "9223372036854775808", "1.5Gi", "-5m", "1e3", "0x10",
                                         "2026-13-45T99:99:99Z", "0000-00-00T00:00:00Z", "2026-01-02T03:04:05Z", "10.0.0.1/33", "::1", "*", "a/b", "a/b/c", "[", "(", "\\", "\"", "$(VAR)", "{{.}}", "f:x",
                                         "k:{\"name\":\"c\"}", "\xc3\xa4\xf0\x9f\x90\x99", "kubernetes.io/x", "system:masters", "cluster-admin", "Always", "Delete", "http://x\r\nX: y"};
constexpr std::string_view kVerbs[] = {"create", "create", "create", "get", "list", "list", "watch", "update", "update", "patch", "patch", "patch", "patch", "delete", "deletecollection", "subresource", "subresource", "other"};
constexpr std::string_view kOther[] = {"/", "/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/version", "/healthz", "/livez?verbose", "/readyz?exclude=x", "/metrics", "/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1",
                                       "/.well-known/openid-configuration", "/openid/v1/jwks", "/apis/example.com/v1", "/apis/none/v1/things", "/api/v1/watch/namespaces/default/pods", "/api/v2/pods", "//api//v1//pods", "/api/v1/../v1/pods"};
constexpr std::string_view kAccepts[] = {"", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
                                         "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
                                         "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "text/html", "*/*;q=0", "application/json;as=None", ";;;,,,=", "application/json;stream=watch"};

}  // namespace

std::string FuzzRequest::describe() const {
  std::string out = cat(method, ' ', target);
  for (const auto& field : headers) out += cat("\n", field.name, ": ", field.value);
  return cat(out, "\n\n", body.substr(0, 4000));
}

std::string RequestFuzzer::Place::collection() const {
  std::string out = resource->group().empty() ? std::string("/api/") : cat("/apis/", resource->group(), '/');
  out += resource->version();
  if (resource->namespaced && !ns.empty()) out += cat("/namespaces/", ns);
  return cat(out, '/', resource->plural());
}

RequestFuzzer::RequestFuzzer(std::uint64_t seed) : rng_(seed) {}

RequestFuzzer::Place RequestFuzzer::place() {
  if (!made_.empty() && !one_in(3)) return any(made_);
  const Resource* resource = &resources()[below(resources().size())];
  if (!one_in(4)) {  // what most clients ask for most
    std::string_view plural = any(kBases).plural;
    std::vector<const Resource*> found;
    for (const Resource& r : resources())
      if (r.plural() == plural) found.push_back(&r);
    if (!found.empty()) resource = any(found);
  }
  return {resource, resource->namespaced ? std::string(any(kSpaces)) : "", std::string(any(kNames))};
}

json::Value RequestFuzzer::hostile() {
  switch (below(10)) {
    case 0: return nullptr;
    case 1: return json::Object();
    case 2: return json::Array();
    case 3: return json::Array{nullptr, json::Object()};
    case 4: return one_in(2);
    case 5: {
      constexpr std::int64_t kNumbers[] = {0, -1, 1, 65536, 2147483648, -2147483649, INT64_MAX, INT64_MIN};
      return any(kNumbers);
    }
    case 6: return 1e300 * (one_in(2) ? 1 : -1);
    case 7: return json::Value(std::string(below(5000), 'x'));
    default: return json::Value(any(kStrings));
  }
}

// Changes a few things somewhere in the value, which the schema calls type (null: free).
void RequestFuzzer::twist(json::Value& value, const Type* type, int depth) {
  if (depth <= 0) {
    value = hostile();
    return;
  }
  if (json::Object* object = value.if_object()) {
    if (type != nullptr && type->custom() == nullptr && !type->fields().empty() && one_in(2)) {  // a member that the kind has
      const Field& field = type->fields()[below(type->fields().size())];
      json::Value sample = make_sample(*type, rng_, 2);
      if (const json::Value* made = json::find(sample, {field.name()})) (*object)[field.name()] = one_in(3) ? hostile() : *made;
      return;
    }
    if (object->empty() || one_in(8)) {
      (*object)[any(kStrings)] = hostile();
      return;
    }
    auto it = object->begin() + static_cast<std::ptrdiff_t>(below(object->size()));
    if (one_in(8)) {
      object->erase(it);
      return;
    }
    const Field* field = type == nullptr ? nullptr : type->find(it->key());
    twist(it->value(), field == nullptr || field->kind() != FieldKind::kObject ? nullptr : field->type(), one_in(6) ? 0 : depth - 1);
    return;
  }
  if (json::Array* array = value.if_array()) {
    if (array->empty() || one_in(6)) array->push_back(hostile());
    else if (one_in(6)) array->push_back(json::Value((*array)[0]));
    else twist((*array)[below(array->size())], type, depth - 1);
    return;
  }
  value = hostile();
}

json::Value RequestFuzzer::object(const Place& place) {
  json::Value tree;
  auto live = live_.find(place.path());
  if (live != live_.end() && !one_in(4)) {
    tree = live->second;
  } else {
    tree = one_in(6) ? make_sample(place.resource->type(), rng_, 3) : json::Value(json::Object());
    for (const Base& base : kBases)
      if (base.plural == place.resource->plural() && !one_in(8)) tree = json::parse(base.body).value();
    json::at_path(tree, {"apiVersion"}) = place.resource->group_version();
    json::at_path(tree, {"kind"}) = place.resource->kind();
    std::string name = place.name;
    if (place.resource->kind() == "CustomResourceDefinition") {
      name = "x.example.com";
    }
    json::Object meta{{"name", name}};
    if (one_in(3)) meta["labels"] = json::Object{{"a", "b"}, {"app", any(kNames)}};
    if (one_in(8)) meta["finalizers"] = json::Array{"x.io/y"};
    if (one_in(8)) meta["ownerReferences"] = json::Array{json::Object{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"name", "a"}, {"uid", "u"}}};
    if (one_in(12)) meta["annotations"] = json::Object{{"kubectl.kubernetes.io/last-applied-configuration", "{}"}, {"k", any(kStrings)}};
    tree.get_object()["metadata"] = std::move(meta);
  }
  for (std::uint64_t n = one_in(2) ? 0 : 1 + below(4); n > 0; --n) twist(tree, &place.resource->type(), 1 + static_cast<int>(below(8)));
  return tree;
}

void RequestFuzzer::break_bytes(std::string& bytes) {
  for (std::uint64_t n = 1 + below(4); n > 0 && !bytes.empty(); --n) {
    std::size_t at = below(bytes.size());
    switch (below(4)) {
      case 0: bytes[at] = static_cast<char>(rng_.next()); break;
      case 1: bytes.erase(at, 1 + below(16)); break;
      case 2: bytes.resize(at); break;
      default: bytes.insert(at, bytes.substr(below(bytes.size()), below(64))); break;
    }
  }
}

void RequestFuzzer::encode(FuzzRequest& request, const Place& place, json::Value tree) {
  std::string_view type = "application/json";
  std::uint64_t form = below(6);
  request.body = json::format(tree);
  if (form == 0) {
    type = "application/yaml";
    request.body = yaml::format(tree);
  } else if (form <= 2 && canonicalize_tree(tree, place.resource->type(), {})) {
    auto bytes = encode_protobuf(tree, place.resource->type());
    if (bytes) {
      type = "application/vnd.kubernetes.protobuf";
      request.body = std::move(*bytes);
    }
  }
  if (one_in(12)) break_bytes(request.body);
  if (one_in(40)) type = any(std::array<std::string_view, 5>{"text/plain", "application/cbor", "", "application/json;charset=latin1", "application/vnd.kubernetes.protobuf"});
  request.headers.set("content-type", type);
}

std::string RequestFuzzer::selector() {
  constexpr std::string_view kSelectors[] = {"a=b", "a==b", "a!=b", "a", "!a", "a in (b,c)", "a notin (b)", "a,b,!c", "a in ()", "a in (", "=", ",", "a=b=c", "a>1", "a<x", "metadata.name=a", "metadata.namespace!=default", "spec.nodeName=n1",
                                             "status.phase=Running", "involvedObject.name=p", "spec.unschedulable=true", "nothing.like=this", "metadata.name=a,metadata.name!=a", "type=Opaque", "\\,=\\=", "a=\x01"};
  std::string out(any(kSelectors));
  if (one_in(6)) out += cat(',', any(kSelectors));
  if (one_in(30)) out += std::string(below(3000), 'x');
  return out;
}

std::string RequestFuzzer::query(std::string_view verb) {
  QueryParams out;
  bool reads = verb == "list" || verb == "watch" || verb == "deletecollection";
  if (reads && one_in(3)) out.set("labelSelector", selector());
  if (reads && one_in(4)) out.set("fieldSelector", selector());
  if (verb == "list" && one_in(3)) out.set("limit", std::to_string(below(5)));
  if (reads && one_in(4)) out.set("resourceVersion", versions_.empty() || one_in(3) ? std::string(any(kStrings)) : any(versions_));
  if (reads && one_in(6)) out.set("resourceVersionMatch", std::string(any(std::array<std::string_view, 4>{"Exact", "NotOlderThan", "Other", ""})));
  if (reads && one_in(4) && !tokens_.empty()) {
    std::string token = any(tokens_);
    if (one_in(3)) break_bytes(token);
    out.set("continue", token);
  }
  if (verb == "watch") {
    out.set("watch", "1");
    if (one_in(3)) out.set("allowWatchBookmarks", "true");
    if (one_in(5)) {
      out.set("sendInitialEvents", "true");
      out.set("resourceVersionMatch", "NotOlderThan");
    }
    if (one_in(3)) out.set("timeoutSeconds", std::string(any(kStrings)));
  }
  bool writes = verb == "create" || verb == "update" || verb == "patch";
  if (writes && one_in(10)) out.set("fieldValidation", std::string(any(std::array<std::string_view, 4>{"Strict", "Warn", "Ignore", "Maybe"})));
  if ((writes || verb == "delete") && one_in(6)) out.set("dryRun", one_in(20) ? "Some" : "All");
  if (writes && one_in(3)) out.set("fieldManager", one_in(30) ? std::string(200, 'm') : std::string(any(kNames)));
  if (verb == "delete" && one_in(3)) out.set("gracePeriodSeconds", one_in(6) ? std::string(any(kStrings)) : "0");
  if (verb == "delete" && one_in(3)) out.set("propagationPolicy", std::string(any(std::array<std::string_view, 4>{"Foreground", "Background", "Orphan", "Both"})));
  if (one_in(40)) out.set("includeObject", std::string(any(std::array<std::string_view, 4>{"Object", "Metadata", "None", "x"})));
  if (one_in(20)) out.set(std::string(any(kNames)), std::string(any(kStrings)));
  std::string text = out.format();
  if (one_in(60)) break_bytes(text);
  for (char& c : text)
    if (static_cast<unsigned char>(c) <= ' ') c = '+';
  return text.empty() ? text : "?" + text;
}

// A path into the tree as JSON pointers have it.
std::string RequestFuzzer::pointer(const json::Value& tree) {
  std::string out;
  const json::Value* at = &tree;
  while (!one_in(4)) {
    if (const json::Object* object = at->if_object(); object != nullptr && !object->empty()) {
      auto it = object->begin() + static_cast<std::ptrdiff_t>(below(object->size()));
      out += '/';
      for (char c : it->key()) {
        if (c == '~') out += "~0";
        else if (c == '/') out += "~1";
        else out += c;
      }
      at = &it->value();
    } else if (const json::Array* array = at->if_array(); array != nullptr && !array->empty()) {
      std::size_t i = below(array->size());
      out += cat('/', i);
      at = &(*array)[i];
    } else {
      break;
    }
  }
  if (one_in(8)) out += cat('/', any(std::array<std::string_view, 6>{"-", "0", "99999999999999999999", "~2", "x", ""}));
  return out;
}

void RequestFuzzer::patch(FuzzRequest& request, const Place& place) {
  request.method = "PATCH";
  std::string path = place.path();
  json::Value tree = object(place);
  switch (below(4)) {
    case 0: {
      request.headers.set("content-type", "application/json-patch+json");
      json::Array operations;
      for (std::uint64_t n = below(6); n > 0; --n) {
        json::Object op{{"op", any(std::array<std::string_view, 7>{"add", "remove", "replace", "move", "copy", "test", "fly"})}, {"path", pointer(tree)}, {"from", pointer(tree)}};
        if (!one_in(5)) op["value"] = hostile();
        operations.push_back(std::move(op));
      }
      request.body = json::format(operations);
      break;
    }
    case 1: request.headers.set("content-type", "application/merge-patch+json"); request.body = json::format(tree); break;
    case 2: {
      request.headers.set("content-type", "application/strategic-merge-patch+json");
      if (one_in(3)) {
        json::Value* inside = &tree;
        for (std::string_view member : {"spec", "template", "spec"})
          if (json::Value* next = json::find(*inside, {member})) inside = next;
        if (inside->is_object())
          inside->get_object()[any(std::array<std::string_view, 5>{"$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers", "$patch"})] =
              one_in(3) ? hostile() : json::Value(any(std::array<std::string_view, 3>{"delete", "replace", "merge"}));
      }
      request.body = json::format(tree);
      break;
    }
    default:
      request.headers.set("content-type", "application/apply-patch+yaml");
      path += one_in(3) ? "?fieldManager=m&force=true" : "?fieldManager=m";
      if (json::Value* meta = json::find(tree, {"metadata"}); meta != nullptr && meta->is_object() && !one_in(10)) meta->get_object().erase("managedFields");
      request.body = one_in(2) ? yaml::format(tree) : json::format(tree);
      request.target = path;
      if (one_in(15)) break_bytes(request.body);
      return;
  }
  request.target = path + query("patch");
  if (one_in(15)) break_bytes(request.body);
}

void RequestFuzzer::subresource(FuzzRequest& request, const Place& place) {
  std::span<const Subresource> rows = place.resource->subresources();
  std::string_view name = rows.empty() || one_in(12) ? any(std::array<std::string_view, 4>{"status", "scale", "nothing", "approval"}) : rows[below(rows.size())].name();
  if (name == "proxy" && place.resource->plural() != "nodes") name = "status";  // it would be dialled
  std::string path = cat(place.path(), '/', name);
  if (name == "status" || name == "approval" || name == "ephemeralcontainers" || name == "resize" || name == "finalize") {
    if (one_in(2)) {
      patch(request, place);
      std::size_t mark = request.target.find('?');
      request.target = path + (mark == std::string::npos ? "" : request.target.substr(mark));
      return;
    }
    request.method = "PUT";
    request.target = path + query("update");
    return encode(request, place, object(place));
  }
  request.method = std::string(any(std::array<std::string_view, 4>{"POST", "PUT", "GET", "PATCH"}));
  request.target = path;
  json::Value body;
  if (name == "scale") body = json::Object{{"apiVersion", "autoscaling/v1"}, {"kind", "Scale"}, {"metadata", json::Object{{"name", place.name}}}, {"spec", json::Object{{"replicas", hostile()}}}};
  else if (name == "eviction") body = json::Object{{"apiVersion", "policy/v1"}, {"kind", "Eviction"}, {"metadata", json::Object{{"name", place.name}}}, {"deleteOptions", hostile()}};
  else if (name == "binding") body = json::Object{{"apiVersion", "v1"}, {"kind", "Binding"}, {"metadata", json::Object{{"name", place.name}}}, {"target", json::Object{{"kind", "Node"}, {"name", "n1"}}}};
  else if (name == "token") body = json::Object{{"apiVersion", "authentication.k8s.io/v1"}, {"kind", "TokenRequest"}, {"spec", json::Object{{"expirationSeconds", one_in(2) ? hostile() : json::Value(600)}, {"audiences", one_in(2) ? hostile() : json::Value(json::Array{"a"})}}}};
  else body = hostile();
  if (one_in(3)) twist(body, nullptr, 4);
  request.headers.set("content-type", request.method == "PATCH" ? "application/merge-patch+json" : "application/json");
  if (request.method != "GET") request.body = json::format(body);
  if (name == "log") request.target += cat("?container=", any(kNames), "&tailLines=", below(10), one_in(2) ? "&previous=true" : "");
  if (name == "exec" || name == "attach") request.target += "?command=ls&stdout=1";
  if (name == "portforward") request.target += "?ports=80";
  if (name == "proxy") request.target += "/x?y=z";
}

void RequestFuzzer::decorate(FuzzRequest& request) {
  std::string_view accept = one_in(3) ? any(kAccepts) : std::string_view();
  if (!accept.empty()) request.headers.set("accept", accept);
  if (one_in(6)) request.headers.set("accept-encoding", "gzip");
  switch (below(40)) {
    case 0: request.headers.set("authorization", "Bearer alice-token"); break;
    case 1: request.headers.set("authorization", "Bearer node-token"); break;
    case 2: request.headers.set("authorization", one_in(2) ? "" : "Bearer nonsense"); break;
    case 3:
      request.headers.set("authorization", "Bearer admin-token");
      request.headers.set("impersonate-user", any(kStrings));
      if (one_in(2)) request.headers.set("impersonate-group", any(kStrings));
      break;
    default: request.headers.set("authorization", "Bearer admin-token"); break;
  }
}

FuzzRequest RequestFuzzer::next() {
  FuzzRequest request;
  std::string_view verb = any(kVerbs);
  Place at = place();
  if (verb == "other") {
    request.method = std::string(any(std::array<std::string_view, 8>{"GET", "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "BREW"}));
    request.target = std::string(any(kOther));
    if (one_in(4)) request.target = at.path() + "/" + std::string(any(kNames)) + "/" + std::string(any(kNames));
    if (request.method == "POST" || request.method == "PUT") request.body = json::format(hostile());
  } else if (verb == "subresource") {
    subresource(request, at);
  } else if (verb == "patch") {
    patch(request, at);
  } else if (verb == "create") {
    request.method = "POST";
    request.target = at.collection() + query(verb);
    encode(request, at, object(at));
  } else if (verb == "update") {
    request.method = "PUT";
    request.target = at.path() + query(verb);
    encode(request, at, object(at));
  } else if (verb == "delete" || verb == "deletecollection") {
    request.method = "DELETE";
    request.target = (verb == "delete" ? at.path() : at.collection()) + query(verb);
    if (one_in(4)) {
      json::Value options = json::Object{{"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"gracePeriodSeconds", one_in(2) ? hostile() : json::Value(0)}, {"preconditions", json::Object{{"uid", any(kStrings)}}}};
      if (one_in(3)) twist(options, find_type("", "v1", "DeleteOptions"), 2);
      request.body = json::format(options);
      request.headers.set("content-type", "application/json");
    }
  } else {
    request.method = one_in(20) ? "HEAD" : "GET";
    bool one = verb == "get";
    if (!one && one_in(4)) at.ns.clear();
    request.target = (one ? at.path() : at.collection()) + query(verb);
  }
  decorate(request);
  if (one_in(200)) request.target += std::string(below(20'000), 'y');
  return request;
}

void RequestFuzzer::learn(const FuzzRequest& request, int status, std::string_view body) {
  if (status / 100 != 2) return;
  auto tree = json::parse(body, {.depth_max = 128, .bytes_max = 4U << 20});
  if (!tree) return;
  if (std::string_view token = json::get_string(*tree, {"metadata", "continue"}); !token.empty()) {
    tokens_.emplace_back(token);
    if (tokens_.size() > kRememberedMax) tokens_.pop_front();
  }
  if (std::string_view version = json::get_string(*tree, {"metadata", "resourceVersion"}); !version.empty()) {
    versions_.emplace_back(version);
    if (versions_.size() > kRememberedMax) versions_.pop_front();
  }
  std::string_view name = json::get_string(*tree, {"metadata", "name"});
  if (name.empty() || request.method == "DELETE" || json::get_string(*tree, {"kind"}).ends_with("List") || json::get_string(*tree, {"apiVersion"}).starts_with("meta.k8s.io")) return;
  std::string path = request.target.substr(0, request.target.find('?'));
  if (request.method == "POST") path += cat('/', name);
  if (Outcome<RequestInfo> info = parse_request("GET", path); info && info->is_resource && info->subresource.empty())
    if (const Resource* resource = find_resource(info->group, info->version, info->resource)) {
      made_.push_back({resource, resource->namespaced ? info->ns : std::string(), info->name});
      if (made_.size() > kRememberedMax) made_.pop_front();
    }
  live_[path] = std::move(*tree);
  if (live_.size() > 400) live_.erase(live_.begin());
}

}  // namespace monopod::api
