// metav1.Status: how every failure of the API reads. Texts are the ones clients match on (k8s.io/apimachinery api/errors),
// word for word.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "api/object.h"
#include "base/error.h"

namespace monopod::api {

struct StatusCause {
  std::string reason;   // "FieldValueInvalid"
  std::string message;
  std::string field;    // "spec.replicas"
};

struct Status {
  int code = 500;
  std::string reason;   // "NotFound"; empty where upstream sends none
  std::string message;
  // details
  std::string name;
  std::string group;
  std::string kind;     // plural resource or kind, as upstream has it per reason
  std::string uid;
  int retry_after_seconds = 0;
  std::vector<StatusCause> causes;
  std::string continue_token;  // metadata.continue of an expired list

  Status() = default;
  Status(int http_code, std::string why, std::string text) : code(http_code), reason(std::move(why)), message(std::move(text)) {}
  Status(const Error& error);  // NOLINT: an Error is a Status without details

  Error error() const;             // for callers that speak Result
  json::Value tree() const;
  std::string json() const;        // {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",...}
};

// Reads a metav1.Status back.
Status parse_status(const json::Value& tree);

template <typename T = void>
using Outcome = std::expected<T, Status>;

inline std::unexpected<Status> refuse(Status status) { return std::unexpected<Status>(std::move(status)); }

struct ResourceRef {  // what a message names: "pods", "deployments.apps"
  std::string_view group;
  std::string_view resource;
};
std::string qualified(const ResourceRef& ref);  // "deployments.apps", "pods"

Status not_found(const ResourceRef& ref, std::string_view name);
Status already_exists(const ResourceRef& ref, std::string_view name);
Status conflict(const ResourceRef& ref, std::string_view name, std::string_view why);
Status object_modified(const ResourceRef& ref, std::string_view name);  // the optimistic lock's conflict
Status forbidden(const ResourceRef& ref, std::string_view name, std::string_view why);
Status bad_request(std::string why);
Status unauthorized();
Status invalid(std::string_view group, std::string_view kind, std::string_view name, std::vector<StatusCause> causes);
Status expired(std::string why);   // 410 Expired
Status gone(std::string why);
Status too_many_requests(std::string why, int retry_after_seconds);
Status method_not_supported(const ResourceRef& ref, std::string_view verb);
Status unsupported_media_type(std::string why);
Status not_acceptable(std::string why);
Status too_large(std::string why);
Status internal(std::string why);
Status service_unavailable(std::string why);
Status page_not_found();  // 404 of a path that is no resource

// {"kind":"Status",...,"status":"Success","details":{...}}: the answer of a delete.
std::string success_json(const ResourceRef& ref, std::string_view name, std::string_view uid);

}  // namespace monopod::api

// As TRY/CO_TRY, for Outcome; take a Result or an Outcome.
#define MONOPOD_OUT_(ret, tmp, ...)                                       \
  do {                                                                    \
    auto&& tmp = (__VA_ARGS__);                                           \
    if (!tmp) [[unlikely]]                                                \
      ret ::std::unexpected<::monopod::api::Status>(::std::move(tmp).error()); \
  } while (false)
#define MONOPOD_OUT_ASSIGN_(ret, tmp, decl, ...)                          \
  auto tmp = (__VA_ARGS__);                                               \
  if (!tmp) [[unlikely]]                                                  \
    ret ::std::unexpected<::monopod::api::Status>(::std::move(tmp).error()); \
  decl = *::std::move(tmp)
#define OUT(...) MONOPOD_OUT_(return, MONOPOD_CONCAT(out_, __LINE__), __VA_ARGS__)
#define OUT_ASSIGN(decl, ...) MONOPOD_OUT_ASSIGN_(return, MONOPOD_CONCAT(out_, __LINE__), decl, __VA_ARGS__)
#define CO_OUT(...) MONOPOD_OUT_(co_return, MONOPOD_CONCAT(out_, __LINE__), __VA_ARGS__)
#define CO_OUT_ASSIGN(decl, ...) MONOPOD_OUT_ASSIGN_(co_return, MONOPOD_CONCAT(out_, __LINE__), decl, __VA_ARGS__)
