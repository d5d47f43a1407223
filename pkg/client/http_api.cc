#include "client/http_api.h"

#include "api/status.h"
#include "base/strings.h"
#include "http/query.h"

namespace monopod::client {

struct HttpApi::Request {
  std::string method, path;
  http::Query query{};
  std::string body{};
  std::string_view content_type = "application/json";
};

namespace {

std::string path_of(const Resource& resource, const std::string& ns, const std::string& name = {}, const std::string& subresource = {}) {
  std::string out = resource.group.empty() ? cat("/api/", resource.version) : cat("/apis/", resource.group, '/', resource.version);
  if (resource.namespaced && !ns.empty()) out += cat("/namespaces/", http::encode_path_segment(ns));
  out += cat('/', resource.plural);
  if (!name.empty()) out += cat('/', http::encode_path_segment(name));
  if (!subresource.empty()) out += cat('/', http::encode_path_segment(subresource));
  return out;
}

void add(http::Query& query, std::string name, const std::string& value) {
  if (!value.empty()) query.add(std::move(name), value);
}

http::Query query_of(const WriteOptions& options) {
  http::Query out;
  add(out, "fieldManager", options.field_manager);
  if (options.force) out.add("force", "true");
  return out;
}

std::string_view content_type_of(PatchType type) {
  switch (type) {
    case PatchType::kJson: return "application/json-patch+json";
    case PatchType::kMerge: return "application/merge-patch+json";
    case PatchType::kStrategicMerge: return "application/strategic-merge-patch+json";
    case PatchType::kApply: return "application/apply-patch+yaml";
  }
  return "application/json";
}

// What the server said, or of a proxy before it the first line.
Error error_of(int status, const std::string& body) {
  if (auto tree = json::parse(body); tree && json::get_string(*tree, {"kind"}) == "Status") return api::parse_status(*tree).error();
  std::string line = body.substr(0, std::min<std::size_t>(body.find('\n'), 200));
  return {code_of_http_status(status), line.empty() ? cat("the server answered with status ", status) : line};
}

// Seconds to wait before the request is sent again; nullopt: that would not help.
std::optional<std::int64_t> retry_after(const http::Response& response) {
  if (response.status != 429 && response.status < 500) return std::nullopt;
  auto seconds = parse_int<std::int64_t>(trim(response.headers.find("retry-after").value_or("")));
  if (!seconds || *seconds < 0) return response.status == 429 ? std::optional<std::int64_t>(1) : std::nullopt;
  return std::min<std::int64_t>(*seconds, kRetryAfterMax.count());
}

// One JSON document a line.
class HttpWatch final : public Watch {
 public:
  explicit HttpWatch(http::Response response) : response_(std::move(response)) {}

  async::Task<Result<WatchEvent>> next() override {
    std::size_t end;
    while ((end = text_.find('\n', taken_)) == std::string::npos) {
      text_.erase(0, taken_);
      taken_ = 0;
      if (text_.size() > kAnswerBytesMax) co_return fail(Code::kResourceExhausted, "watch: an event is too large");
      CO_TRY_ASSIGN(SharedBytes chunk, co_await response_.body->read_chunk());
      if (!chunk) co_return fail(Code::kUnavailable, "watch: the server ended it");
      text_ += *chunk;
    }
    std::string line = text_.substr(taken_, end - taken_);
    taken_ = end + 1;
    co_return event_of(line);
  }

 private:
  static Result<WatchEvent> event_of(std::string_view line) {
    Result<json::Value> tree = json::parse(line);
    const json::Value* object = tree ? json::find(*tree, {"object"}) : nullptr;
    if (object == nullptr) return fail(Code::kUnavailable, "watch: not an event");
    std::string_view type = json::get_string(*tree, {"type"});
    if (type == "ERROR") return fail(api::parse_status(*object).error());
    WatchEvent out{.type = type == "ADDED" ? EventType::kAdded : type == "MODIFIED" ? EventType::kModified : type == "DELETED" ? EventType::kDeleted : EventType::kBookmark, .object = {}};
    TRY_ASSIGN(out.object, parse_object(json::format(*object)));
    out.initial_events_end = json::get_string(*object, {"metadata", "annotations", "k8s.io/initial-events-end"}) == "true";
    return out;
  }

  http::Response response_;
  std::string text_;
  std::size_t taken_ = 0;
};

}  // namespace

Result<std::unique_ptr<HttpApi>> HttpApi::make(HttpApiParts parts, ClusterConfig config) {
  std::unique_ptr<HttpApi> out(new HttpApi(std::move(parts), std::move(config)));
  const ClusterConfig& c = out->config_;
  http::ClientOptions options{.bearer_token = c.token, .resolver = out->parts_.resolver, .response_timeout = out->parts_.response_timeout};
  TRY_ASSIGN(options.endpoint, http::parse_endpoint(c.server));
  if (options.endpoint.tls) {
    TRY_ASSIGN(out->tls_, http::TlsClient::make({.ca_pem = c.ca_pem, .certificate_pem = c.certificate_pem, .key_pem = c.key_pem, .server_name = c.tls_server_name, .insecure_skip_verify = c.insecure_skip_verify}));
    options.tls = out->tls_.get();
  }
  out->client_ = std::make_unique<http::Client>(out->parts_.background, out->parts_.executor, out->parts_.time, std::move(options));
  return out;
}

HttpApi::~HttpApi() = default;

Result<> HttpApi::refresh_token() {
  MonoTime now = parts_.time.mono();
  if (config_.token_file.empty() || (token_read_ && now - *token_read_ < kTokenFileEvery)) return {};
  Result<std::string> token = parts_.read_file(config_.token_file);
  if (!token && token_read_) return {};  // the last one may still be good
  if (!token) return fail(std::move(token).error().with("token file"));
  client_->set_bearer_token(std::string(trim(*token)));
  token_read_ = now;
  return {};
}

async::Task<Result<http::Response>> HttpApi::send(Request request) {
  std::string query = request.query.format();
  std::string target = query.empty() ? request.path : cat(request.path, '?', query);
  SharedBytes body = request.body.empty() ? nullptr : share(std::move(request.body));
  for (int tries = 0;; ++tries) {
    CO_TRY(refresh_token());
    http::ClientRequest out{.method = request.method, .target = target, .headers = {{"accept", "application/json"}, {"user-agent", parts_.user_agent}}, .body = body};
    if (body) out.headers.set("content-type", request.content_type);
    CO_TRY_ASSIGN(http::Response response, co_await client_->request(std::move(out)));
    if (response.status / 100 == 2) co_return response;
    std::optional<std::int64_t> wait = tries < kRetriesMax ? retry_after(response) : std::nullopt;
    CO_TRY_ASSIGN(std::string text, co_await response.body->read_all(kAnswerBytesMax));
    if (!wait) co_return fail(error_of(response.status, text));
    CO_TRY(co_await parts_.time.sleep_for(std::chrono::seconds(*wait)));
  }
}

async::Task<Result<std::string>> HttpApi::text_of(Request request) {
  CO_TRY_ASSIGN(http::Response response, co_await send(std::move(request)));
  co_return co_await response.body->read_all(kAnswerBytesMax);
}

async::Task<Result<Object>> HttpApi::object_of(Request request) {
  CO_TRY_ASSIGN(std::string text, co_await text_of(std::move(request)));
  co_return parse_object(std::move(text));
}

async::Task<Result<Object>> HttpApi::get(Resource resource, std::string ns, std::string name) {
  if (name.empty()) co_return fail(Code::kInvalidArgument, "resource name may not be empty");
  co_return co_await object_of({.method = "GET", .path = path_of(resource, ns, name)});
}

async::Task<Result<json::Value>> HttpApi::get_subresource(Resource resource, std::string ns, std::string name, std::string subresource) {
  CO_TRY_ASSIGN(std::string text, co_await text_of({.method = "GET", .path = path_of(resource, ns, name, subresource)}));
  co_return json::parse(text);
}

async::Task<Result<ObjectList>> HttpApi::list(Resource resource, ListOptions options) {
  Request request{.method = "GET", .path = path_of(resource, options.ns)};
  add(request.query, "labelSelector", options.label_selector);
  add(request.query, "fieldSelector", options.field_selector);
  add(request.query, "resourceVersion", options.resource_version);
  add(request.query, "continue", options.continue_token);
  if (options.limit > 0) request.query.add("limit", std::to_string(options.limit));
  CO_TRY_ASSIGN(std::string text, co_await text_of(std::move(request)));
  CO_TRY_ASSIGN(json::Value tree, json::parse(text, {.bytes_max = kAnswerBytesMax}));
  ObjectList out{.items = {}, .resource_version = std::string(json::get_string(tree, {"metadata", "resourceVersion"})), .continue_token = std::string(json::get_string(tree, {"metadata", "continue"}))};
  json::Value* items = json::find(tree, {"items"});
  if (items == nullptr || !items->is_array()) co_return out;
  for (json::Value& item : items->get_array()) {
    // Real servers leave both out of the items of a list.
    if (item.is_object() && json::find(item, {"kind"}) == nullptr) {
      item.get_object()["kind"] = resource.kind;
      item.get_object()["apiVersion"] = resource.api_version();
    }
    CO_TRY_ASSIGN(Object object, parse_object(json::format(item)));
    item = nullptr;
    out.items.push_back(std::move(object));
  }
  co_return out;
}

async::Task<Result<std::unique_ptr<Watch>>> HttpApi::watch(Resource resource, WatchOptions options) {
  Request request{.method = "GET", .path = path_of(resource, options.ns)};
  request.query.add("watch", "true");
  request.query.add("allowWatchBookmarks", "true");
  std::int64_t least = std::chrono::seconds(kWatchMin).count();
  request.query.add("timeoutSeconds", std::to_string(least + static_cast<std::int64_t>(parts_.rng.below(static_cast<std::uint64_t>(least)))));
  add(request.query, "labelSelector", options.label_selector);
  add(request.query, "fieldSelector", options.field_selector);
  add(request.query, "resourceVersion", options.resource_version);
  if (options.send_initial_events) {
    request.query.add("sendInitialEvents", "true");
    request.query.add("resourceVersionMatch", "NotOlderThan");
  }
  CO_TRY_ASSIGN(http::Response response, co_await send(std::move(request)));
  co_return std::make_unique<HttpWatch>(std::move(response));
}

async::Task<Result<Object>> HttpApi::create(Resource resource, std::string ns, json::Value object, WriteOptions options) {
  std::string name(json::get_string(object, {"metadata", "name"}));
  co_return co_await object_of({.method = "POST", .path = path_of(resource, ns, options.subresource.empty() ? std::string() : name, options.subresource), .query = query_of(options), .body = json::format(object)});
}

async::Task<Result<Object>> HttpApi::update(Resource resource, std::string ns, std::string name, json::Value object, WriteOptions options) {
  co_return co_await object_of({.method = "PUT", .path = path_of(resource, ns, name, options.subresource), .query = query_of(options), .body = json::format(object)});
}

async::Task<Result<Object>> HttpApi::patch(Resource resource, std::string ns, std::string name, PatchType type, json::Value patch, WriteOptions options) {
  co_return co_await object_of({.method = "PATCH", .path = path_of(resource, ns, name, options.subresource), .query = query_of(options), .body = json::format(patch), .content_type = content_type_of(type)});
}

async::Task<Result<>> HttpApi::remove(Resource resource, std::string ns, std::string name, DeleteOptions options) {
  if (name.empty()) co_return fail(Code::kInvalidArgument, "resource name may not be empty");
  json::Object body{{"apiVersion", "v1"}, {"kind", "DeleteOptions"}}, preconditions;
  if (options.grace_period_seconds) body["gracePeriodSeconds"] = *options.grace_period_seconds;
  if (!options.propagation_policy.empty()) body["propagationPolicy"] = options.propagation_policy;
  if (!options.precondition_uid.empty()) preconditions["uid"] = options.precondition_uid;
  if (!options.precondition_resource_version.empty()) preconditions["resourceVersion"] = options.precondition_resource_version;
  if (!preconditions.empty()) body["preconditions"] = std::move(preconditions);
  auto answer = co_await text_of({.method = "DELETE", .path = path_of(resource, ns, name), .body = json::format(body)});
  if (!answer) co_return fail(std::move(answer).error());
  co_return Result<>();
}

async::Task<Result<json::Value>> HttpApi::post(Resource resource, std::string ns, std::string name, std::string subresource, json::Value body) {
  CO_TRY_ASSIGN(std::string text, co_await text_of({.method = "POST", .path = path_of(resource, ns, name, subresource), .body = json::format(body)}));
  co_return json::parse(text);
}

}  // namespace monopod::client
