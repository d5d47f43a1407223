// The node's certificates over years and wrong clocks, on fake time.
#include "cmd/node/credentials.h"

#include <gtest/gtest.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include "async/loop.h"
#include "async/scope.h"
#include "base/bytes.h"
#include "codec/yaml.h"
#include "pki/certificate.h"
#include "pki/random.h"
#include "sys/root.h"

namespace monopod::cmd {
namespace {

using async::Task;
using std::chrono::days;

WallTime at(int year, unsigned month, unsigned day) {
  return WallTime(std::chrono::sys_days(std::chrono::year{year} / std::chrono::month{month} / std::chrono::day{day}));
}

struct Bench {
  explicit Bench(async::Loop& loop, WallTime now) : executor(loop.executor()), time(loop.executor(), now), scope(loop.executor()) {
    char name[] = "/tmp/credentials_test.XXXXXX";
    dir = ::mkdtemp(name);
  }
  ~Bench() { std::filesystem::remove_all(dir); }

  Task<Result<>> open() {
    CredentialOptions options{.dns_names = {"localhost"}, .ip_addresses = {"127.0.0.1"}, .server_url = "https://127.0.0.1:6443", .kubeconfig_path = dir + "/admin.kubeconfig"};
    CO_TRY_ASSIGN(credentials, co_await Credentials::open(state, time, std::move(options)));
    co_return Result<>();
  }
  // What a new connection is shown.
  pki::Identity server() const {
    X509* shown = ::SSL_CTX_get0_certificate(credentials->server_tls().context().get());
    unsigned char* der = nullptr;
    int size = ::i2d_X509(shown, &der);
    std::string bytes(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
    ::OPENSSL_free(der);
    return pki::Certificate::parse_der(bytes).value().identity().value();
  }
  std::string kubeconfig_member(std::initializer_list<std::string_view> path, std::string_view list) const {
    json::Value tree = yaml::parse(sys::read_host_file(dir + "/admin.kubeconfig").value()).value();
    return parse_base64(json::get_string(json::get_array(tree, {list})->at(0), path)).value();
  }
  pki::Identity admin() const { return pki::Certificate::parse_pem(kubeconfig_member({"user", "client-certificate-data"}, "users")).value().identity().value(); }
  std::string trusted() const { return kubeconfig_member({"cluster", "certificate-authority-data"}, "clusters"); }
  pki::Identity authority() const { return pki::Certificate::parse_pem(credentials->authority_pem()).value().identity().value(); }

  // Lets the keeper look; it sleeps on the fake clock.
  Task<Result<>> pass(Duration d) {
    time.advance(d);
    for (int i = 0; i < 50; ++i) co_await async::asio::post(executor, async::use_task);
    co_return Result<>();
  }

  async::Executor executor;
  async::FakeTime time;
  async::Scope scope;
  async::MemoryStateStore state;
  std::string dir;
  std::unique_ptr<Credentials> credentials;
};

void script(WallTime now, Task<Result<>> (*steps)(Bench&)) {
  pki::initialise();
  async::Loop loop;
  Bench bench(loop, now);
  struct Run {
    static Task<Result<>> all(Bench& b, Task<Result<>> (*s)(Bench&)) {
      CO_TRY(co_await b.open());
      b.scope.spawn(b.credentials->keep_fresh());
      for (int i = 0; i < 10; ++i) co_await async::asio::post(b.executor, async::use_task);
      Result<> done = co_await s(b);
      b.scope.cancel();
      (void)co_await b.scope.join();
      co_return done;
    }
  };
  Result<> done = loop.run(Run::all(bench, steps));
  EXPECT_TRUE(done) << done.error().message();
}

Task<Result<>> before_they_expire(Bench& b) {
  std::string first = b.server().serial_hex;
  std::string first_admin = b.admin().serial_hex;
  CO_TRY(co_await b.pass(days(240)));
  EXPECT_EQ(b.server().serial_hex, first) << "two thirds of the year are not over";
  CO_TRY(co_await b.pass(days(5)));
  EXPECT_NE(b.server().serial_hex, first);
  EXPECT_NE(b.admin().serial_hex, first_admin);
  EXPECT_GT(b.server().not_after, b.time.wall() + days(364));
  struct stat info = {};
  EXPECT_EQ(::stat((b.dir + "/admin.kubeconfig").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  co_return Result<>();
}
TEST(Credentials, AreRenewedBeforeTheyExpire) { script(at(2027, 1, 1), before_they_expire); }

// No battery: 1970 at boot, right after the first answer of a time server.
Task<Result<>> clock_without_battery(Bench& b) {
  for (const pki::Identity& one : {b.server(), b.admin(), b.authority()}) {
    EXPECT_LE(one.not_before, at(1970, 1, 2)) << "good while the clock is wrong";
    EXPECT_GT(one.not_after, at(2027, 1, 1)) << "and once it is right";
  }
  b.time.step_wall(at(2029, 6, 1) - b.time.wall());
  CO_TRY(co_await b.pass(std::chrono::minutes(1)));
  EXPECT_GT(b.server().not_after, at(2030, 5, 1)) << "within a minute of the step";
  EXPECT_GT(b.admin().not_after, at(2030, 5, 1));
  co_return Result<>();
}
TEST(Credentials, WorkAndRenewAfterAClockWithoutBattery) { script(at(1970, 1, 1) + std::chrono::hours(30), clock_without_battery); }

Task<Result<>> clock_ahead(Bench& b) {
  std::string trusted = b.trusted();
  b.time.step_wall(at(2027, 3, 1) - b.time.wall());
  CO_TRY(co_await b.pass(std::chrono::minutes(1)));
  for (const pki::Identity& one : {b.server(), b.admin()}) {
    EXPECT_LT(one.not_before, at(2027, 3, 1));
    EXPECT_LT(one.not_after, at(2028, 3, 2)) << "not years too long";
  }
  EXPECT_LT(b.authority().not_before, at(2027, 3, 1));
  EXPECT_EQ(b.trusted(), trusted) << "who trusts the authority goes on";
  co_return Result<>();
}
TEST(Credentials, AClockThatWasAheadLeavesNothingUnusable) { script(at(2040, 1, 1), clock_ahead); }

Task<Result<>> authority(Bench& b) {
  pki::Certificate old = pki::Certificate::parse_pem(b.credentials->authority_pem()).value();
  CO_TRY(co_await b.pass(days(2400)));
  EXPECT_EQ(b.credentials->authority_pem(), old.format_pem());
  CO_TRY(co_await b.pass(days(60)));
  EXPECT_NE(b.credentials->authority_pem(), old.format_pem());
  EXPECT_GT(b.authority().not_after, b.time.wall() + days(3649));
  EXPECT_EQ(b.trusted(), b.credentials->authority_pem());
  // The key is the old one: whoever trusts the old certificate still believes what is issued now.
  std::string shown = b.kubeconfig_member({"user", "client-certificate-data"}, "users");
  pki::Certificate leaf = pki::Certificate::parse_pem(shown).value();
  EXPECT_EQ(::X509_verify(leaf.handle(), ::X509_get0_pubkey(old.handle())), 1);
  // And a restart finds the new one.
  std::string now = b.credentials->authority_pem();
  b.scope.cancel();
  (void)co_await b.scope.join();
  CO_TRY(co_await b.open());
  EXPECT_EQ(b.credentials->authority_pem(), now);
  co_return Result<>();
}
TEST(Credentials, TheAuthorityIsRenewedWithItsKey) { script(at(2027, 1, 1), authority); }

}  // namespace
}  // namespace monopod::cmd
