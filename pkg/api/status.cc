#include "api/status.h"

#include "base/strings.h"
#include "base/utf8.h"

namespace monopod::api {
namespace {

Code code_for(const Status& status) {
  if (status.reason == "Conflict") return Code::kAborted;
  if (status.reason == "AlreadyExists") return Code::kAlreadyExists;
  if (status.reason == "Invalid") return Code::kFailedPrecondition;
  if (status.code == 410) return Code::kOutOfRange;
  return code_of_http_status(status.code);
}

json::Object details_of(const Status& s) {
  json::Object details;
  if (!s.name.empty()) details["name"] = to_utf8(s.name);
  if (!s.group.empty()) details["group"] = s.group;
  if (!s.kind.empty()) details["kind"] = s.kind;
  if (!s.uid.empty()) details["uid"] = s.uid;
  if (!s.causes.empty()) {
    json::Array causes;
    for (const auto& c : s.causes) {
      json::Object cause;
      if (!c.reason.empty()) cause["reason"] = c.reason;
      if (!c.message.empty()) cause["message"] = to_utf8(c.message);
      if (!c.field.empty()) cause["field"] = to_utf8(c.field);
      causes.push_back(std::move(cause));
    }
    details["causes"] = std::move(causes);
  }
  if (s.retry_after_seconds > 0) details["retryAfterSeconds"] = s.retry_after_seconds;
  return details;
}

Status about(int code, std::string reason, std::string message, const ResourceRef& ref, std::string_view name) {
  Status status(code, std::move(reason), std::move(message));
  status.group = ref.group;
  status.kind = ref.resource;
  status.name = name;
  return status;
}

}  // namespace

Status::Status(const Error& error) : code(http_status(error.code())), reason(status_reason(error.code())), message(error.message()) {
  if (code == 422) {  // a failed precondition below the API is no verdict on an object
    code = 500;
    reason = "InternalError";
  }
}

Error Status::error() const { return {code_for(*this), message}; }

json::Value Status::tree() const {
  json::Object meta;
  if (!continue_token.empty()) meta["continue"] = continue_token;
  json::Object out{{"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", std::move(meta)}, {"status", "Failure"}, {"message", to_utf8(message)}};  // it may quote what a client sent
  if (!reason.empty()) out["reason"] = reason;
  if (json::Object details = details_of(*this); !details.empty()) out["details"] = std::move(details);
  out["code"] = code;
  return out;
}

std::string Status::json() const { return json::format(tree()); }

Status parse_status(const json::Value& tree) {
  Status out(static_cast<int>(json::get_int(tree, {"code"}, 500)), std::string(json::get_string(tree, {"reason"})),
             std::string(json::get_string(tree, {"message"})));
  out.name = json::get_string(tree, {"details", "name"});
  out.group = json::get_string(tree, {"details", "group"});
  out.kind = json::get_string(tree, {"details", "kind"});
  out.uid = json::get_string(tree, {"details", "uid"});
  out.retry_after_seconds = static_cast<int>(json::get_int(tree, {"details", "retryAfterSeconds"}));
  if (const json::Array* causes = json::get_array(tree, {"details", "causes"})) {
    for (const json::Value& cause : *causes) {
      out.causes.push_back({std::string(json::get_string(cause, {"reason"})), std::string(json::get_string(cause, {"message"})),
                            std::string(json::get_string(cause, {"field"}))});
    }
  }
  return out;
}

std::string qualified(const ResourceRef& ref) { return ref.group.empty() ? std::string(ref.resource) : cat(ref.resource, '.', ref.group); }

Status not_found(const ResourceRef& ref, std::string_view name) {
  return about(404, "NotFound", cat(qualified(ref), " \"", name, "\" not found"), ref, name);
}

Status already_exists(const ResourceRef& ref, std::string_view name) {
  return about(409, "AlreadyExists", cat(qualified(ref), " \"", name, "\" already exists"), ref, name);
}

Status conflict(const ResourceRef& ref, std::string_view name, std::string_view why) {
  return about(409, "Conflict", cat("Operation cannot be fulfilled on ", qualified(ref), " \"", name, "\": ", why), ref, name);
}

Status object_modified(const ResourceRef& ref, std::string_view name) {
  return conflict(ref, name, "the object has been modified; please apply your changes to the latest version and try again");
}

Status forbidden(const ResourceRef& ref, std::string_view name, std::string_view why) {
  std::string text;
  if (ref.resource.empty()) text = cat("forbidden: ", why);
  else if (name.empty()) text = cat(qualified(ref), " is forbidden: ", why);
  else text = cat(qualified(ref), " \"", name, "\" is forbidden: ", why);
  return about(403, "Forbidden", std::move(text), ref, name);
}

Status bad_request(std::string why) { return {400, "BadRequest", std::move(why)}; }
Status unauthorized() { return {401, "Unauthorized", "Unauthorized"}; }

Status invalid(std::string_view group, std::string_view kind, std::string_view name, std::vector<StatusCause> causes) {
  std::string shown = group.empty() ? std::string(kind) : cat(kind, '.', group);
  std::string text;
  if (causes.size() == 1) text = cat(causes[0].field, ": ", causes[0].message);
  if (causes.size() > 1) {
    for (const auto& c : causes) text += cat(text.empty() ? "[" : ", ", c.field, ": ", c.message);
    text += ']';
  }
  Status status(422, "Invalid", cat(shown, " \"", name, "\" is invalid", text.empty() ? "" : ": ", text));
  status.group = group;
  status.kind = kind;
  status.name = name;
  status.causes = std::move(causes);
  return status;
}

Status expired(std::string why) { return {410, "Expired", std::move(why)}; }
Status gone(std::string why) { return {410, "Gone", std::move(why)}; }

Status too_many_requests(std::string why, int retry_after_seconds) {
  Status status(429, "TooManyRequests", std::move(why));
  status.retry_after_seconds = retry_after_seconds;
  return status;
}

Status method_not_supported(const ResourceRef& ref, std::string_view verb) {
  Status status(405, "MethodNotAllowed", cat(verb, " is not supported on resources of kind \"", qualified(ref), "\""));
  status.group = ref.group;
  status.kind = ref.resource;
  return status;
}

Status unsupported_media_type(std::string why) { return {415, "UnsupportedMediaType", std::move(why)}; }
Status not_acceptable(std::string why) { return {406, "NotAcceptable", std::move(why)}; }
Status too_large(std::string why) { return {413, "RequestEntityTooLarge", std::move(why)}; }

Status internal(std::string why) {
  Status status(500, "InternalError", cat("Internal error occurred: ", why));
  status.causes.push_back({"", std::move(why), ""});
  return status;
}

Status service_unavailable(std::string why) { return {503, "ServiceUnavailable", std::move(why)}; }

Status page_not_found() { return {404, "NotFound", "the server could not find the requested resource"}; }

std::string success_json(const ResourceRef& ref, std::string_view name, std::string_view uid) {
  json::Object details{{"name", name}};
  if (!ref.group.empty()) details["group"] = ref.group;
  details["kind"] = ref.resource;
  if (!uid.empty()) details["uid"] = uid;
  return json::format(json::Object{
      {"kind", "Status"}, {"apiVersion", "v1"}, {"metadata", json::Object()}, {"status", "Success"}, {"details", std::move(details)}});
}

}  // namespace monopod::api
