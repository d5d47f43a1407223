#include "etcd/auth/authorize.h"

#include "pki/certificate.h"

namespace monopod::etcd {
namespace {

using async::Task;

std::unexpected<Error> old_revision() { return fail(Code::kInvalidArgument, "etcdserver: revision of auth store is old"); }

Result<Identity> identify(AuthStore& auth, const Credentials& credentials) {
  if (credentials.token) return auth.identify_token(*credentials.token);
  if (credentials.certificate_der.empty()) return Identity{};
  TRY_ASSIGN(pki::Certificate certificate, pki::Certificate::parse_der(credentials.certificate_der));
  TRY_ASSIGN(pki::Identity named, certificate.identity());
  return auth.identify_certificate(std::move(named.common_name));
}

Result<> check_caller(AuthStore& auth, const Identity& who, const Access& access) {
  switch (access.caller) {
    case Access::Caller::kAnyone: return {};
    case Access::Caller::kUser: return access.reads.empty() && access.writes.empty() ? auth.check_user(who) : Result<>();  // check_keys says it
    case Access::Caller::kRoot: break;
  }
  Result<> root = auth.check_root(who);
  if (root) return root;
  const User* user = who.revision == 0 ? nullptr : auth.state().find_user(who.user);
  if (user && access.or_user && *access.or_user == who.user) return {};
  if (user && access.or_role && user->has_role(*access.or_role)) return {};
  return root;
}

Task<Result<>> check_lease(Context& context, const Identity& who, LeaseId id, bool write) {
  CO_TRY_ASSIGN(Lease lease, co_await context.backend.lease_time_to_live(id));
  std::vector<KeyRange> keys;
  for (std::string& key : lease.keys) keys.push_back({.key = std::move(key)});
  static const std::vector<KeyRange> kNone;
  co_return context.auth->check_keys(who, write ? kNone : keys, write ? keys : kNone);
}

Task<Result<>> judge(Context& context, const Identity& who, const Access& access) {
  if (!context.auth || !context.auth->enabled() || access.caller == Access::Caller::kAnyone) co_return Result<>();
  AuthStore& auth = *context.auth;
  std::uint64_t generation = auth.generation();
  CO_TRY(check_caller(auth, who, access));
  CO_TRY(auth.check_keys(who, access.reads, access.writes));
  if (auth.check_root(who)) co_return Result<>();  // a lease may have many keys
  std::vector<LeaseId> readable = access.lease_reads;
  if (access.reads_every_lease) {
    CO_TRY_ASSIGN(readable, co_await context.backend.leases());
  }
  for (LeaseId id : access.lease_writes) CO_TRY(co_await check_lease(context, who, id, true));
  for (LeaseId id : readable) CO_TRY(co_await check_lease(context, who, id, false));
  if (auth.generation() != generation) co_return old_revision();  // changed while leases were looked up
  co_return Result<>();
}

}  // namespace

Credentials credentials_of(const http::Request& request, bool client_cert_auth) {
  Credentials credentials;
  credentials.token = request.headers.find("token");
  if (!credentials.token) credentials.token = request.headers.find("authorization");
  bool passed_on = !http::is_grpc(request) || request.headers.find("grpcgateway-accept");
  if (client_cert_auth && !passed_on && !request.peer.certificates_der.empty()) credentials.certificate_der = request.peer.certificates_der.front();
  return credentials;
}

Task<Result<Identity>> authorize(Context& context, const Access& access) {
  if (!context.auth || !context.auth->enabled() || access.caller == Access::Caller::kAnyone) co_return Identity{};
  CO_TRY_ASSIGN(Identity who, identify(*context.auth, context.credentials));
  CO_TRY(co_await judge(context, who, access));
  co_return who;
}

Task<Result<Admission>> admit(Context& context, Needs needs, std::string_view message) {
  if (!needs) co_return fail(Code::kPermissionDenied, "etcdserver: permission denied");
  Admission admission;
  if (!context.auth) co_return admission;
  CO_TRY_ASSIGN(admission.access, needs(message));
  CO_TRY_ASSIGN(admission.who, co_await authorize(context, admission.access));
  co_return admission;
}

Task<Result<>> judge_again(Context& context, const Admission& admission) {
  if (!context.auth) co_return Result<>();
  Identity now = context.auth->identify_certificate(admission.who.user);  // a name we know already
  co_return co_await judge(context, now, admission.access);
}

namespace {

Answer call_if_allowed(Context& context, const Method& method, std::string_view message) {
  std::uint64_t generation = context.auth->generation();
  CO_TRY_ASSIGN(Admission admission, co_await admit(context, method.needs, message));
  Result<Message> answered = co_await method.call(context, message);
  if (answered && admission.access.read_only() && context.auth->enabled() && context.auth->generation() != generation) co_return old_revision();
  co_return answered;
}

}  // namespace

Answer call_method(Context& context, const Method& method, std::string_view message) {
  return context.auth && context.auth->enabled() ? call_if_allowed(context, method, message) : method.call(context, message);
}

namespace {

// Judges a stream: each message from the client, and once more before the first answer after a change of users or roles.
class StreamGate {
 public:
  StreamGate(Context& context, Needs needs) : context_(context), needs_(needs) {}
  bool refused() const { return refused_; }

  Task<Result<>> admit(std::string_view message) {
    generation_ = generation();
    Result<Admission> admission = co_await etcd::admit(context_, needs_, message);
    refused_ = !admission;
    if (!admission) co_return fail(admission.error());
    admission_ = std::move(*admission);
    co_return Result<>();
  }

  Task<Result<>> admit_again() {
    if (!context_.auth || generation_ == generation()) co_return Result<>();
    generation_ = generation();
    Result<> still = co_await judge_again(context_, admission_);
    refused_ = !still;
    co_return still;
  }

 private:
  std::uint64_t generation() const { return context_.auth ? context_.auth->generation() : 0; }

  Context& context_;
  Needs needs_;
  Admission admission_{};
  std::uint64_t generation_ = 0;
  bool refused_ = false;
};

}  // namespace

Task<Result<>> call_stream(Context& context, http::GrpcServerCall& call, const StreamMethod& stream) {
  StreamGate gate(context, stream.needs);
  if (stream.refusal == StreamMethod::Refusal::kEndsStream)
    call.set_gate({.on_read = [&gate](std::string_view message) { return gate.admit(message); }, .on_write = [&gate] { return gate.admit_again(); }});
  Result<> done = co_await stream.call(context, call);
  // Handlers pass on what ended their stream: a refusal is told in gRPC.
  if (!done && gate.refused() && !call.outcome()) co_return co_await call.finish(std::move(done));
  co_return done;
}

}  // namespace monopod::etcd
