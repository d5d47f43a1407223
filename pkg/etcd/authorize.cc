#include "etcd/authorize.h"

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

}  // namespace

Credentials credentials_of(const http::Request& request, bool client_cert_auth) {
  Credentials credentials;
  for (std::string_view name : {"token", "authorization"})
    if (auto token = request.headers.find(name); token && !credentials.token) credentials.token = std::string(*token);
  bool passed_on = !http::is_grpc(request) || request.headers.find("grpcgateway-accept");
  if (client_cert_auth && !passed_on && !request.peer.certificates_der.empty()) credentials.certificate_der = request.peer.certificates_der.front();
  return credentials;
}

Task<Result<Identity>> authorize(Context& context, const Access& access) {
  if (!context.auth || !context.auth->enabled() || access.caller == Access::Caller::kAnyone) co_return Identity{};
  AuthStore& auth = *context.auth;
  std::uint64_t generation = auth.generation();
  CO_TRY_ASSIGN(Identity who, identify(auth, context.credentials));
  CO_TRY(check_caller(auth, who, access));
  CO_TRY(auth.check_keys(who, access.reads, access.writes));
  std::vector<LeaseId> readable = access.lease_reads;
  if (access.reads_every_lease) {
    CO_TRY_ASSIGN(readable, co_await context.backend.leases());
  }
  for (LeaseId id : access.lease_writes) CO_TRY(co_await check_lease(context, who, id, true));
  for (LeaseId id : readable) CO_TRY(co_await check_lease(context, who, id, false));
  if (auth.generation() != generation) co_return old_revision();  // changed while leases were looked up
  co_return who;
}

Task<Result<Identity>> authorize(Context& context, Needs needs, std::string_view message) {
  if (!needs) co_return fail(Code::kPermissionDenied, "etcdserver: permission denied");
  if (!context.auth || !context.auth->enabled()) co_return Identity{};
  CO_TRY_ASSIGN(Access access, needs(message));
  co_return co_await authorize(context, access);
}

Answer call_method(Context& context, const Method& method, std::string_view message) {
  std::uint64_t generation = context.auth ? context.auth->generation() : 0;
  CO_TRY(co_await authorize(context, method.needs, message));
  Result<std::string> answered = co_await method.call(context, message);
  if (!answered || !context.auth || context.auth->generation() == generation || !context.auth->enabled()) co_return answered;
  CO_TRY_ASSIGN(Access access, method.needs(message));
  if (access.read_only()) co_return old_revision();
  co_return answered;
}

}  // namespace monopod::etcd
