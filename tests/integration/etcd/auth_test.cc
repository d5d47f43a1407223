// Authentication under Debian's etcdctl: what it prints is what it prints of etcd.
#include <filesystem>
#include <fstream>

#include "etcd/auth/auth_test_support.h"
#include "pki/authority.h"
#include "served_store.h"

namespace monopod::testing {
namespace {

using store::TempDir;

struct Case {
  const char* line;
  const char* expected;  // whole output; starts with "~": contains
};

void expect(std::uint16_t port, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    Output out = run_etcdctl(port, c.line);
    if (*c.expected == '~') EXPECT_TRUE(out.text.contains(c.expected + 1)) << c.line << "\n" << out.text;
    else EXPECT_EQ(out.text, c.expected) << c.line;
  }
}

etcd::ServeOptions cheap(const TempDir& dir) { return {.data_dir = dir.file("data"), .auth = etcd::kCheapPasswords}; }

TEST(EtcdctlAuth, UsersReadAndWriteWhatTheirRolesGrant) {
  if (!have_etcdctl()) GTEST_SKIP() << "needs /usr/bin/etcdctl (package etcd-client)";
  TempDir dir;
  with_served_store(cheap(dir), [](std::uint16_t port) {
    expect(port, {
        {"etcdctl auth enable", "~etcdserver: root user does not exist"},
        {"etcdctl user add root:pw", "User root created\n"},
        {"etcdctl put k 1; etcdctl put /p/a 1; etcdctl put z 1", "OK\nOK\nOK\n"},
        {"etcdctl user add alice:a; etcdctl role add staff; etcdctl user grant-role alice staff", "User alice created\nRole staff created\nRole staff is granted to user alice\n"},
        {"etcdctl role grant-permission staff read k; etcdctl role grant-permission staff readwrite /p/ --prefix; etcdctl role grant-permission staff read y --from-key",
         "Role staff updated\nRole staff updated\nRole staff updated\n"},
        {"etcdctl role get staff", "Role staff\nKV Read:\n\t[/p/, /p0) (prefix /p/)\n\tk\n\t[y, <open ended>\nKV Write:\n\t[/p/, /p0) (prefix /p/)\n"},
        // etcdctl gives root its role when told that it lacks it.
        {"etcdctl auth enable 2>/dev/null", "Authentication Enabled\n"},
        {"etcdctl get k", "~etcdserver: user name is empty"},
        {"etcdctl --user alice:wrong get k", "~etcdserver: authentication failed, invalid user ID or password"},
        {"etcdctl --user alice:a get k", "k\n1\n"},
        {"etcdctl --user alice:a put k 2", "~etcdserver: permission denied"},
        {"etcdctl --user alice:a get k --from-key", "~etcdserver: permission denied"},
        {"etcdctl --user alice:a put /p/b 2 && etcdctl --user alice:a get /p/ --prefix --print-value-only", "OK\n1\n2\n"},
        {"etcdctl --user alice:a get y --from-key", "z\n1\n"},
        {"etcdctl --user alice:a watch k l", "~permission denied"},
        {"etcdctl --user alice:a user list", "~etcdserver: permission denied"},
        {"etcdctl --user alice:a user get alice", "User: alice\nRoles: staff\n"},
        {"etcdctl --user alice:a endpoint health", "~is healthy"},
        {"etcdctl --user alice:a endpoint status", "~permission denied"},
        {"etcdctl --user root:pw user list", "alice\nroot\n"},
        {"etcdctl --user root:pw role get root 2>&1 | tail -1; etcdctl --user root:pw role add root; etcdctl --user root:pw role get root",
         "~KV Write:\n\t[, <open ended>"},
        {"etcdctl --user root:pw auth disable", "Authentication Disabled\n"},
        {"etcdctl get k", "k\n1\n"},
    });
  });
}

TEST(EtcdctlAuth, UsersSurviveARestart) {
  if (!have_etcdctl()) GTEST_SKIP() << "needs /usr/bin/etcdctl (package etcd-client)";
  TempDir dir;
  with_served_store(cheap(dir), [](std::uint16_t port) {
    expect(port, {{"etcdctl put k 1; etcdctl user add root:pw; (etcdctl auth enable 2>/dev/null)", "OK\nUser root created\nAuthentication Enabled\n"}});
  });
  with_served_store(cheap(dir), [](std::uint16_t port) {
    expect(port, {{"etcdctl get k", "~etcdserver: user name is empty"}, {"etcdctl --user root:pw get k", "k\n1\n"}});
  });
}

TEST(EtcdctlAuth, SignedTokensAndCertificatesNameUsers) {
  if (!have_etcdctl()) GTEST_SKIP() << "needs /usr/bin/etcdctl (package etcd-client)";
  TempDir dir;
  RealClock clock;
  pki::CertificateAuthority authority = *pki::CertificateAuthority::make(clock);
  pki::KeyPair server = *authority.issue(clock, {.common_name = "server", .ip_addresses = {"127.0.0.1"}, .server = true});
  pki::KeyPair alice = *authority.issue(clock, {.common_name = "alice", .client = true});
  std::ofstream(dir.file("ca")) << authority.certificate_pem();
  std::ofstream(dir.file("cert")) << alice.certificate_pem;
  std::ofstream(dir.file("key")) << alice.key_pem;
  etcd::ServeOptions options = cheap(dir);
  options.certificate_pem = server.certificate_pem;
  options.key_pem = server.key_pem;
  options.client_ca_pem = authority.certificate_pem();
  options.client_cert_auth = true;
  options.tokens = {.kind = etcd::TokenOptions::Kind::kJwt, .sign_method = "ES256", .private_key_pem = pki::PrivateKey::make()->format_pem()};
  std::string environment = cat("export ETCDCTL_ENDPOINTS=https://$ETCDCTL_ENDPOINTS ETCDCTL_CACERT=", dir.file("ca"), " ETCDCTL_CERT=", dir.file("cert"),
                                " ETCDCTL_KEY=", dir.file("key"), "; ");
  with_served_store(std::move(options), [&environment](std::uint16_t port) {
    auto say = [&](const std::string& line) { return run_etcdctl(port, environment + line).text; };
    say("etcdctl put k 1; etcdctl user add root:pw; etcdctl user add alice --no-password; etcdctl role add r; etcdctl role grant-permission r read k; etcdctl user grant-role alice r");
    say("etcdctl auth enable");
    EXPECT_EQ(say("etcdctl get k"), "k\n1\n") << "by certificate";
    EXPECT_TRUE(say("etcdctl put k 2").contains("etcdserver: permission denied"));
    EXPECT_EQ(say("etcdctl --user root:pw put k 2"), "OK\n") << "by a signed token";
    EXPECT_TRUE(say("etcdctl --user alice:x put k 2").contains("password was given for no password user"));
  });
}

// The same lines to etcd and to the store: the same output, but for what the two versions are known to differ in.
constexpr const char* kScript = R"(
exec 2>&1
r() {
  echo "\$ $*"
  etcdctl "$@"
}
r auth enable
r user add root:pw
r auth enable
r role list
r auth disable
r --user root:pw auth disable
r user add root:x
r user add u:u
r user add e:
r user add np --no-password
r user get u
r user get nobody
r user list
r role add r
r role add r
r role add ""
r role grant-permission r read k
r role grant-permission r readwrite /p/ --prefix
r role grant-permission r write z --from-key
r role grant-permission r read a c
r role grant-permission nor read x
r role get r
r role get nor
r role revoke-permission r k
r role revoke-permission r k
r user grant-role u r
r user grant-role u r
r user grant-role u nor
r user get u --detail
r user revoke-role u nor
r user revoke-role u r
r user grant-role u r
r auth enable
r put a 1
r --user root:wrong get a
r --user nobody:x get a
r --user np:x get a
r --user root:pw put a 1
r --user root:pw put /p/q 1
r --user u:u get a
r --user u:u put a 2
r --user u:u get a --from-key
r --user u:u del /p/ --prefix --prev-kv
r --user u:u del a c
r --user u:u put zzz 3 --prev-kv
r --user u:u user list
r --user u:u user get u
r --user u:u user get root
r --user u:u role get r
r --user u:u role list
r --user root:pw user delete root
r --user root:pw user revoke-role root root
r --user root:pw role delete root
r --user u:u watch q
r --user u:u lease grant 10
r --user u:u endpoint health
printf 'value("q") = "1"\n\nput /p/a 1\n\n\n' | r --user u:u txn
printf 'value("a") = "1"\n\nput /p/a 1\n\nget q\n\n' | r --user u:u txn
printf 'value("a") = "1"\n\nput /p/a 1\n\nget a\n\n' | r --user u:u txn
r --user root:pw role delete r
r --user root:pw user get u
r --user u:u get a
r --user root:pw user delete u
r --user root:pw user delete u
r --user root:pw auth disable
r --user root:pw get a
r auth enable
r auth enable
)";

TEST(EtcdctlAuth, AnswersAsEtcd) {
  if (!have_etcd()) GTEST_SKIP() << "needs /usr/bin/etcd (package etcd-server) and the right to make a network namespace";
  TempDir dir;
  std::ofstream(dir.file("script")) << kScript;
  // The client's log lines, ids and addresses differ.
  std::ofstream(dir.file("edit")) << "/^.\"level\"/d; s/lease [0-9a-f]{10,}/lease ID/; s/[0-9.]+:[0-9]+/ENDPOINT/g; s/took = .*/took/\n";
  std::string line = cat("sh ", dir.file("script"), " | sed -E -f ", dir.file("edit"));
  ::setenv("ETCD_BCRYPT_COST", "4", 1);
  std::string etcd = run_etcd(dir.file("etcd"), line).text, ours;
  with_served_store(cheap(dir), [&](std::uint16_t port) { ours = run_etcdctl(port, line).text; });
  if (etcd.ends_with("Terminated\n")) etcd.resize(etcd.size() - 11);  // the shell's word on etcd's end
  EXPECT_GT(etcd.size(), 3000u) << etcd;
  EXPECT_EQ(ours, etcd);
}

}  // namespace
}  // namespace monopod::testing
