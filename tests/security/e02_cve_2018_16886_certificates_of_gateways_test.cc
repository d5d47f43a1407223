// E2: the common name of a client certificate is a user, but never that of a gateway which asks for others (CVE-2018-16886).
#include "etcd/auth/auth_stage.h"
#include "pki/authority.h"
#include "pki/certificate.h"

namespace monopod::etcd {
namespace {

using async::Task;

std::string certificate_of(const std::string& name) {
  RealClock clock;
  pki::CertificateAuthority authority = *pki::CertificateAuthority::make(clock);
  pki::KeyPair pair = *authority.issue(clock, {.common_name = name, .client = true});
  return pki::Certificate::parse_pem(pair.certificate_pem)->der();
}

http::Request grpc_request(const std::string& certificate) {
  http::Request request{.method = "POST", .target = "/etcdserverpb.KV/Range", .headers = {{"content-type", "application/grpc"}}};
  request.peer = {.address = "127.0.0.1:1", .tls = true, .certificates_der = {certificate}};
  return request;
}

Task<std::string> read_key(AuthStage& stage, http::Request request, bool client_cert_auth = true) {
  ServiceOptions options;
  Context context{.backend = stage.store, .time = stage.time, .options = options, .auth = &stage.auth, .credentials = credentials_of(request, client_cert_auth)};
  co_return outcome(co_await admit(context, needs_range, range_message("k")));
}

Task<Result<>> certificates(AuthStage& stage) {
  CO_TRY(co_await stage.auth.add_user({.name = "alice", .no_password = true}));
  CO_TRY(co_await stage.add_user("bob", {}));
  CO_TRY(co_await stage.auth.add_role("reader"));
  CO_TRY(co_await stage.auth.grant_permission("reader", {.key = "k"}));
  CO_TRY(co_await stage.auth.grant_role("alice", "reader"));
  const std::string nobody = "invalid_argument: etcdserver: user name is empty", denied = "permission_denied: etcdserver: permission denied";
  std::string alice = certificate_of("alice");

  EXPECT_EQ(co_await read_key(stage, grpc_request(alice)), "ok");
  EXPECT_EQ(co_await read_key(stage, grpc_request(alice), false), nobody) << "certificates that nobody required name nobody";
  EXPECT_EQ(co_await read_key(stage, grpc_request(certificate_of("carol"))), denied) << "a user that does not exist";
  EXPECT_EQ(co_await read_key(stage, grpc_request(certificate_of("root"))), "ok");

  http::Request gateway = grpc_request(alice);
  gateway.headers.set("grpcgateway-accept", "*/*");
  EXPECT_EQ(co_await read_key(stage, gateway), nobody) << "a gateway asks for somebody else";
  http::Request json = grpc_request(alice);
  json.headers.set("content-type", "application/json");
  EXPECT_EQ(co_await read_key(stage, json), nobody);
  for (const char* type : {"application/grpc-web", "text/plain", "application/grpcx", ""}) {
    json.headers.set("content-type", type);
    EXPECT_EQ(co_await read_key(stage, json), nobody) << type;
  }

  CO_TRY_ASSIGN(std::string bob, co_await stage.auth.authenticate("bob", "bob"));
  http::Request both = grpc_request(alice);
  both.headers.set("token", bob);
  EXPECT_EQ(co_await read_key(stage, both), denied) << "who says who he is, is that";
  both.headers.set("token", "forged");
  EXPECT_EQ(co_await read_key(stage, both), "unauthenticated: etcdserver: invalid auth token") << "and a bad token is not made good by a certificate";
  co_return Result<>();
}
TEST(E02Certificates, OnlyTheSendersOwnNamesAUser) { test_stage(certificates); }

}  // namespace
}  // namespace monopod::etcd
