#include "api/audit/record.h"

#include <arpa/inet.h>

#include "base/metrics_text.h"
#include "base/strings.h"

namespace monopod::api::audit {
namespace {

constexpr std::string_view kHidden = "REDACTED";

bool is_address(const std::string& text) {
  in6_addr into{};
  return inet_pton(AF_INET, text.c_str(), &into) == 1 || inet_pton(AF_INET6, text.c_str(), &into) == 1;
}

// "10.0.0.1:4711" and "[::1]:4711" to the address; "" of what is none ("unix").
std::string address_of(std::string_view peer) {
  std::string out(peer.substr(0, peer.rfind(':')));
  if (out.starts_with('[') && out.ends_with(']')) out = out.substr(1, out.size() - 2);
  return is_address(out) ? out : std::string();
}

// As upstream: what proxies say of the client first, and the peer itself last, which alone nobody can forge.
std::vector<std::string> addresses_of(const http::Request& request) {
  std::vector<std::string> out;
  for (std::string_view header : {"x-forwarded-for", "x-real-ip"}) {
    for (std::string_view value : request.headers.find_all(header))
      for (std::string_view part : split(value, ','))
        if (std::string text(trim(part)); is_address(text)) out.push_back(std::move(text));
    if (!out.empty()) break;
  }
  std::string peer = address_of(request.peer.address);
  if (!peer.empty() && (out.empty() || out.back() != peer)) out.push_back(std::move(peer));
  return out;
}

json::Value tree_of(const UserInfo& user) {
  json::Object out;
  if (!user.name.empty()) out["username"] = user.name;
  if (!user.uid.empty()) out["uid"] = user.uid;
  if (!user.groups.empty()) out["groups"] = json::Array(user.groups.begin(), user.groups.end());
  if (!user.extra.empty()) {
    json::Object extra;
    for (const auto& [key, values] : user.extra) extra[key] = json::Array(values.begin(), values.end());
    out["extra"] = std::move(extra);
  }
  return out;
}

void hide(json::Value& object, std::string_view kind, std::initializer_list<std::string_view> path) {
  if (json::get_string(object, {"kind"}) != kind) return;
  if (json::Value* token = json::find(object, path); token != nullptr && token->is_string() && !token->get_string().empty()) *token = kHidden;
}

void drop_managed_fields(json::Value& object) {
  if (json::Value* meta = json::find(object, {"metadata"}); meta != nullptr && meta->is_object()) meta->get_object().erase("managedFields");
}

// Of an object, the items of a list, the rows of a table.
void drop_all_managed_fields(json::Value& tree) {
  drop_managed_fields(tree);
  for (std::string_view name : {"items", "rows"})
    if (json::Value* list = json::find(tree, {name}); list != nullptr && list->is_array())
      for (json::Value& item : list->get_array()) {
        json::Value* row = name == "rows" ? json::find(item, {"object"}) : &item;
        if (row != nullptr) drop_managed_fields(*row);
      }
}

}  // namespace

void append_metrics(std::string& out, const Totals& totals, const Sink& sink) {
  metrics::append_family(out, "apiserver_audit_event_total", "counter", "Audit events written.");
  out += cat("apiserver_audit_event_total ", totals.events, '\n');
  metrics::append_family(out, "apiserver_audit_level_total", "counter", "Requests by the level that the policy gave them.");
  for (Level level : {Level::kNone, Level::kMetadata, Level::kRequest, Level::kRequestResponse})
    out += cat("apiserver_audit_level_total{level=\"", name_of(level), "\"} ", totals.requests[static_cast<std::size_t>(level)], '\n');
  metrics::append_family(out, "apiserver_audit_error_total", "counter", "Audit events that could not be written.");
  out += cat("apiserver_audit_error_total{plugin=\"log\"} ", sink.lost(), '\n');
}

Record::Record(const Policy& policy, Sink& sink, Totals& totals, const Clock& clock, std::string id)
    : policy_(policy), sink_(sink), totals_(totals), clock_(clock), id_(std::move(id)), received_(clock.wall()) {}

void Record::begin(const http::Request& request, const Attributes& attributes, bool long_running) {
  verdict_ = policy_.judge(attributes);
  ++totals_.requests[static_cast<std::size_t>(verdict_.level)];
  if (auto own = request.headers.find("audit-id"); own && !own->empty()) id_ = own->substr(0, kAuditIdBytesMax);
  if (!on()) return;
  attributes_ = attributes;
  long_running_ = long_running;
  uri_ = request.target;
  user_agent_ = request.headers.find("user-agent").value_or("");
  if (user_agent_.size() > kUserAgentBytesMax) user_agent_ = user_agent_.substr(0, kUserAgentBytesMax) + "...TRUNCATED";
  addresses_ = addresses_of(request);
  if (!unauthenticated_) emit(Stage::kRequestReceived);
}

void Record::begin_unauthenticated(const http::Request& request, const Attributes& attributes) {
  unauthenticated_ = true;
  std::string tried;
  if (!request.peer.certificates_der.empty()) tried = "x509";
  else if (auto header = request.headers.find("authorization")) tried = to_lower(split_once(trim(*header), ' ').first);
  bool known = tried == "x509" || tried == "bearer" || tried == "basic";
  attempted_ = known ? cat("Authentication failed, attempted: ", tried) : std::string("Authentication failed, no credentials provided");
  begin(request, attributes, false);
}

void Record::annotate(std::string_view key, std::string_view value) {
  if (on() && !value.empty()) annotations_.try_emplace(std::string(key), value);
}

void Record::request(const json::Value& tree, bool patch) {
  if (!on()) return;
  if (!patch) {
    if (attributes_.name.empty()) attributes_.name = json::get_string(tree, {"metadata", "name"});
    uid_ = json::get_string(tree, {"metadata", "uid"});
    resource_version_ = json::get_string(tree, {"metadata", "resourceVersion"});
  }
  if (verdict_.level < Level::kRequest) return;
  json::Value copy = tree;
  hide(copy, "TokenReview", {"spec", "token"});
  if (verdict_.omit_managed_fields && !patch) drop_managed_fields(copy);
  request_ = json::format(copy);
}

void Record::response(std::string_view text) {
  if (!wants_response() || truncated_) return;
  truncated_ = request_.size() + response_.size() + text.size() > kObjectsBytesMax;
  if (truncated_) response_ = std::string();
  else response_ += text;
  ++response_pieces_;
}

void Record::failure(const Status& status) {
  if (!on()) return;
  failure_ = status;
  response(status.json());
}

void Record::started(int code) {
  if (code_ != 0) return;
  code_ = code;
  if (on() && (long_running_ || unauthenticated_)) emit(Stage::kResponseStarted);
}

void Record::complete() {
  if (!on()) return;
  if (!unauthenticated_) {
    if (code_ == 0) {
      failure_.reset();
      if (long_running_) emit(Stage::kResponseStarted);
    }
    emit(Stage::kResponseComplete);
  }
  verdict_.level = Level::kNone;
}

json::Object Record::object_reference() const {
  json::Object out;
  auto put = [&out](std::string_view name, const std::string& value) {
    if (!value.empty()) out[name] = value;
  };
  put("resource", attributes_.resource);
  put("namespace", attributes_.ns);
  put("name", attributes_.name);
  put("uid", uid_);
  put("apiGroup", attributes_.group);
  put("apiVersion", attributes_.version);
  put("resourceVersion", resource_version_);
  put("subresource", attributes_.subresource);
  return out;
}

json::Object Record::status() const {
  json::Object out{{"metadata", json::Object()}};
  if (unauthenticated_) {
    out["message"] = attempted_;
  } else if (failure_) {
    json::Value told = failure_->tree();
    for (std::string_view name : {"status", "message", "reason", "details"})
      if (const json::Value* value = json::find(told, {name})) out[name] = *value;
  } else if (code_ == 0) {
    out["status"] = "Success";
    out["message"] = "Connection closed early";
  }
  out["code"] = code_ == 0 ? 200 : code_;
  return out;
}

json::Object Record::event(Stage stage, WallTime now) const {
  json::Object out{{"kind", "Event"}, {"apiVersion", "audit.k8s.io/v1"}, {"level", name_of(verdict_.level)}, {"auditID", id_}, {"stage", name_of(stage)},
                   {"requestURI", uri_}, {"verb", attributes_.verb}, {"user", tree_of(attributes_.user)}};
  if (impersonated_) out["impersonatedUser"] = tree_of(*impersonated_);
  if (!addresses_.empty()) out["sourceIPs"] = json::Array(addresses_.begin(), addresses_.end());
  if (!user_agent_.empty()) out["userAgent"] = user_agent_;
  if (attributes_.is_resource) out["objectRef"] = object_reference();
  if (stage != Stage::kRequestReceived) out["responseStatus"] = status();
  out["requestReceivedTimestamp"] = format_rfc3339_micro(received_);
  out["stageTimestamp"] = format_rfc3339_micro(now);
  return out;
}

// What was answered as it may be written. False: it was cut short.
bool Record::settle_response() {
  bool secret = attributes_.resource == "tokenreviews" || attributes_.subresource == "token";
  if (response_pieces_ == 1 && !secret && !verdict_.omit_managed_fields) return true;
  Result<json::Value> answer = json::parse(response_);
  if (!answer) return false;
  hide(*answer, "TokenRequest", {"status", "token"});
  hide(*answer, "TokenReview", {"spec", "token"});
  if (verdict_.omit_managed_fields) drop_all_managed_fields(*answer);
  response_ = json::format(*answer);
  return true;
}

void Record::emit(Stage stage) {
  if (verdict_.omits(stage)) return;
  bool last = stage == Stage::kResponseComplete;
  if (last && !response_.empty() && !settle_response()) {
    truncated_ = true;
    response_.clear();
  }
  json::Object tree = event(stage, stage == Stage::kRequestReceived ? received_ : clock_.wall());
  json::Object notes;
  for (const auto& [key, value] : annotations_) notes[key] = value;
  if (last && truncated_) notes["audit.k8s.io/truncated"] = "true";
  if (!notes.empty()) tree["annotations"] = std::move(notes);
  std::string line = json::format(tree);
  line.pop_back();
  if (!request_.empty()) line += cat(",\"requestObject\":", request_);
  if (last && !response_.empty()) line += cat(",\"responseObject\":", response_);
  line += "}\n";
  ++totals_.events;
  sink_.append(std::move(line));
}

}  // namespace monopod::api::audit
