// The RPCs of etcd's v3 API as tables: one list for each gRPC service, each in the file of that name (kv_service.cc, ...). service.cc joins them.
#pragma once

#include <span>

#include "etcd/alarms.h"
#include "etcd/messages.h"
#include "etcd/auth/needs.h"
#include "etcd/service.h"

namespace monopod::etcd {

// The etcd whose behaviour this follows; kube-apiserver decides by it.
inline constexpr std::string_view kEtcdVersion = "3.5.17";

class AuthStore;

// What a request carries of who sent it (authorize.h). Views into it.
struct Credentials {
  std::optional<std::string_view> token{};
  std::string_view certificate_der{};  // verified, and the sender's own; empty: none
};

// What every handler works on. References outlive the call.
struct Context {
  Backend& backend;
  async::Time& time;
  const ServiceOptions& options;
  AuthStore* auth = nullptr;  // null: the backend keeps no users
  Credentials credentials{};
  Alarms* alarms = nullptr;             // null: there are none, and none can be raised
  async::Pool* maintenance = nullptr;   // one slow thing at a time, away from the store's own threads; null: nothing of that kind is done
};

using Answer = async::Task<Result<Message>>;

// One message each way. message outlives the call.
struct Method {
  std::string_view path;  // "/etcdserverpb.KV/Range"
  Needs needs;            // what a caller must be allowed to; judged before call
  Answer (*call)(Context& context, std::string_view message);
};
// A stream in either direction. The handler finishes the call.
struct StreamMethod {
  std::string_view path;
  Needs needs;  // of each message that the client sends
  async::Task<Result<>> (*call)(Context& context, http::GrpcServerCall& call);
  // A refused message ends the stream before the handler sees it; or the handler authorises each and tells the client in its own way.
  enum class Refusal { kEndsStream, kByHandler } refusal = Refusal::kEndsStream;
};

std::span<const Method> kv_methods();
std::span<const Method> lease_methods();
std::span<const StreamMethod> lease_streams();
std::span<const StreamMethod> watch_streams();
std::span<const Method> auth_methods();
std::span<const Method> maintenance_methods();
std::span<const StreamMethod> maintenance_streams();
std::span<const Method> cluster_methods();
std::span<const Method> lock_methods();
std::span<const Method> election_methods();
std::span<const StreamMethod> election_streams();
std::span<const Method> health_methods();
std::span<const StreamMethod> health_streams();

// Shared by Lock and Election (lock_service.cc).
inline constexpr std::chrono::seconds kSessionTtl{60};  // of the lease a call without one is given; etcd's
Error as_unknown(Error error);
async::Task<Result<LeaseId>> session_lease(Context& context, std::int64_t asked);
std::span<const Method> operation_methods();  // monopod.Store: operations.cc
std::span<const StreamMethod> operation_streams();

// All of them.
std::vector<Method> all_methods();
std::vector<StreamMethod> all_streams();

}  // namespace monopod::etcd
