// The audit events of one request (audit.k8s.io/v1 Event, one JSON line each):
//
//   begin() ─> RequestReceived   started() ─> ResponseStarted, of watches and streams   complete() or the end ─> ResponseComplete
//
// Live credentials are never written whatever the policy asks: the token of a TokenRequest's answer and of a TokenReview.
#pragma once

#include <map>

#include "api/audit/policy.h"
#include "api/audit/sink.h"
#include "api/status.h"
#include "base/clock.h"
#include "codec/json.h"
#include "http/exchange.h"

namespace monopod::api::audit {

inline constexpr std::size_t kObjectsBytesMax = 4U << 20;   // request and answer of one event together: any request fits; a larger list is left out and the event says so
inline constexpr std::size_t kUserAgentBytesMax = 1024;     // as upstream
inline constexpr std::size_t kAuditIdBytesMax = 64;         // as upstream, of a client's own Audit-ID

// Of all requests, for metrics.
struct Totals {
  std::uint64_t events = 0;
  std::uint64_t requests[4] = {};  // by level
};

// Under the names of upstream's apiserver.
void append_metrics(std::string& out, const Totals& totals, const Sink& sink);

class Record {
 public:
  // All outlive it. id: of a request that brings none of its own.
  Record(const Policy& policy, Sink& sink, Totals& totals, const Clock& clock, std::string id);
  ~Record() { complete(); }
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;

  // Decides by the policy.
  void begin(const http::Request& request, const Attributes& attributes, bool long_running);
  // Of a request whose credentials are not good: attributes without a user. Its one event is ResponseStarted, as upstream's.
  void begin_unauthenticated(const http::Request& request, const Attributes& attributes);
  void impersonates(const UserInfo& user) { impersonated_ = user; }
  void annotate(std::string_view key, std::string_view value);

  bool on() const { return verdict_.level != Level::kNone; }
  bool wants_response() const { return verdict_.level == Level::kRequestResponse; }
  // What was sent, as a tree; names the object where the path does not. patch: the tree is no object.
  void request(const json::Value& tree, bool patch = false);
  // What is answered, JSON text; may come in pieces.
  void response(std::string_view text);
  void failure(const Status& status);
  // The head of the answer goes out.
  void started(int code);
  void complete();
  const std::string& id() const { return id_; }

 private:
  void emit(Stage stage);
  json::Object event(Stage stage, WallTime now) const;
  json::Object status() const;
  json::Object object_reference() const;
  bool settle_response();

  const Policy& policy_;
  Sink& sink_;
  Totals& totals_;
  const Clock& clock_;
  std::string id_;
  Verdict verdict_;
  Attributes attributes_;
  bool long_running_ = false;
  bool unauthenticated_ = false;
  std::string attempted_;  // by whom credentials are not good
  std::string uri_, user_agent_;
  std::vector<std::string> addresses_;
  std::optional<UserInfo> impersonated_;
  std::string uid_, resource_version_;  // of the object that was sent
  std::string request_, response_;
  int response_pieces_ = 0;
  bool truncated_ = false;
  std::map<std::string, std::string> annotations_;
  std::optional<Status> failure_;
  int code_ = 0;
  WallTime received_{};
};

}  // namespace monopod::api::audit
