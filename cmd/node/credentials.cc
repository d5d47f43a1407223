#include "cmd/node/credentials.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/strings.h"
#include "codec/yaml.h"
#include "pki/certificate.h"
#include "sys/fd.h"

namespace monopod::cmd {
namespace {

constexpr std::string_view kBucket = "pki";
constexpr std::chrono::days kLifetime{365};
constexpr std::chrono::days kAuthorityLifetime{3650};
constexpr std::chrono::minutes kLook{1};
// Every certificate is valid from here on, whenever it was made: a machine without a battery says 1970 at boot, and is to be reached all the same.
constexpr WallTime kValidFrom{std::chrono::sys_days(std::chrono::year{1970} / 1 / 2)};
// A clock without battery says 1970 at boot. No certificate of ours is older than this program: issue as if it were at least then.
constexpr WallTime kEarliest{std::chrono::sys_days(std::chrono::year{2026} / 11 / 1)};

class SaneClock final : public Clock {
 public:
  explicit SaneClock(const Clock& clock) : clock_(clock) {}
  WallTime wall() const override { return std::max(clock_.wall(), kEarliest); }
  MonoTime mono() const override { return clock_.mono(); }

 private:
  const Clock& clock_;
};

Result<> write_private(const std::string& path, std::string_view content) {
  std::string temporary = path + ".new";
  sys::Fd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return fail_errno("write " + temporary);
  if (::fchmod(file.get(), 0600) != 0) return fail_errno("restrict " + temporary);
  for (std::size_t done = 0; done < content.size();) {
    ssize_t n = ::write(file.get(), content.data() + done, content.size() - done);
    if (n < 0) return fail_errno("write " + temporary);
    done += static_cast<std::size_t>(n);
  }
  if (::fsync(file.get()) != 0) return fail_errno("sync " + temporary);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail_errno("rename " + path);
  return {};
}

std::string kubeconfig(const std::string& server, const std::string& authority, const pki::KeyPair& admin) {
  json::Value config = json::Object{
      {"apiVersion", "v1"},
      {"kind", "Config"},
      {"clusters", json::Array{json::Object{{"name", "monopod"}, {"cluster", json::Object{{"server", server}, {"certificate-authority-data", format_base64(authority)}}}}}},
      {"users", json::Array{json::Object{{"name", "admin"}, {"user", json::Object{{"client-certificate-data", format_base64(admin.certificate_pem)}, {"client-key-data", format_base64(admin.key_pem)}}}}}},
      {"contexts", json::Array{json::Object{{"name", "monopod"}, {"context", json::Object{{"cluster", "monopod"}, {"user", "admin"}}}}}},
      {"current-context", "monopod"}};
  return yaml::format(config);
}

}  // namespace

async::Task<Result<std::unique_ptr<Credentials>>> Credentials::open(async::StateStore& state, async::Time& time, CredentialOptions options) {
  CO_TRY_ASSIGN(auto pairs, co_await state.list(std::string(kBucket)));
  std::string ca_certificate, ca_key, account_key;
  for (auto& [key, value] : pairs) {
    if (key == "ca.crt") ca_certificate = std::move(value);
    else if (key == "ca.key") ca_key = std::move(value);
    else if (key == "sa.key") account_key = std::move(value);
  }
  SaneClock clock(time);
  if (ca_certificate.empty() || ca_key.empty()) {
    CO_TRY_ASSIGN(pki::CertificateAuthority made, pki::CertificateAuthority::make(clock, {.common_name = "monopod-ca", .lifetime = kAuthorityLifetime, .backdate = clock.wall() - kValidFrom}));
    ca_certificate = made.certificate_pem();
    ca_key = made.key_pem();
    CO_TRY(co_await state.put(std::string(kBucket), "ca.key", ca_key));
    CO_TRY(co_await state.put(std::string(kBucket), "ca.crt", ca_certificate));
  }
  if (account_key.empty()) {
    CO_TRY_ASSIGN(pki::PrivateKey made, pki::PrivateKey::make());
    account_key = made.format_pem();
    CO_TRY(co_await state.put(std::string(kBucket), "sa.key", account_key));
  }
  CO_TRY_ASSIGN(pki::CertificateAuthority authority, pki::CertificateAuthority::parse_pem(ca_certificate, ca_key));
  std::unique_ptr<Credentials> out(new Credentials(state, time, std::move(options), std::move(authority)));
  out->service_account_key_ = std::move(account_key);
  CO_TRY(co_await out->renew_authority());
  CO_TRY(out->issue_server());
  CO_TRY(out->issue_admin());
  co_return out;
}

Result<> Credentials::issue_server() {
  SaneClock clock(time_);
  pki::IssueOptions issue{.common_name = "monopod", .dns_names = options_.dns_names, .ip_addresses = options_.ip_addresses, .server = true, .lifetime = kLifetime, .backdate = clock.wall() - kValidFrom};
  TRY_ASSIGN(pki::KeyPair pair, authority_.issue(clock, issue));
  http::TlsServerOptions tls{.certificate_pem = pair.certificate_pem, .key_pem = pair.key_pem, .client_ca_pem = authority_.certificate_pem(), .client_certificate = http::ClientCertificate::kOptional};
  if (server_tls_) {
    TRY(server_tls_->replace(tls));
  } else {
    TRY_ASSIGN(server_tls_, http::TlsServer::make(tls));
  }
  server_renew_at_ = clock.wall() + kLifetime * 2 / 3;
  return {};
}

Result<> Credentials::issue_admin() {
  SaneClock clock(time_);
  TRY_ASSIGN(pki::KeyPair admin, authority_.issue(clock, {.common_name = "admin", .organizations = {"system:masters"}, .client = true, .lifetime = kLifetime, .backdate = clock.wall() - kValidFrom}));
  TRY(write_private(options_.kubeconfig_path, kubeconfig(options_.server_url, authority_.certificate_pem(), admin)));
  admin_renew_at_ = clock.wall() + kLifetime * 2 / 3;
  return {};
}

// True if there is a new one: everything that it signed is then due too.
async::Task<Result<bool>> Credentials::renew_authority() {
  SaneClock clock(time_);
  WallTime now = clock.wall();
  CO_TRY_ASSIGN(pki::Identity own, authority_.certificate().identity());
  if (own.not_before <= now && now < own.not_after - kAuthorityLifetime / 3) co_return false;
  CO_TRY_ASSIGN(pki::CertificateAuthority renewed, authority_.renew(clock, {.lifetime = kAuthorityLifetime, .backdate = now - kValidFrom}));
  CO_TRY(co_await state_.put(std::string(kBucket), "ca.crt", renewed.certificate_pem()));
  authority_ = std::move(renewed);
  log::info("certificate authority renewed, with the same key");
  co_return true;
}

async::Task<Result<>> Credentials::renew_if_due() {
  CO_TRY_ASSIGN(bool all, co_await renew_authority());
  WallTime now = SaneClock(time_).wall();
  // A clock set back by more than a day leaves certificates that live too long: those count as due too.
  auto due = [now, all](WallTime renew_at) { return all || now >= renew_at || now + kLifetime * 2 / 3 + std::chrono::hours(23) < renew_at; };
  if (due(server_renew_at_)) {
    CO_TRY(issue_server());
    log::info("server certificate renewed");
  }
  if (due(admin_renew_at_)) {
    CO_TRY(issue_admin());
    log::info("admin certificate renewed", {{"kubeconfig", options_.kubeconfig_path}});
  }
  co_return Result<>();
}

async::Task<Result<>> Credentials::keep_fresh() {
  for (;;) {  // forever: until cancelled
    CO_TRY(co_await time_.sleep_for(kLook));
    Result<> renewed = co_await renew_if_due();
    if (!renewed && renewed.error().code() == Code::kCancelled) co_return renewed;
    if (!renewed) log::error("certificates could not be renewed", {{"why", renewed.error()}});
  }
}

}  // namespace monopod::cmd
