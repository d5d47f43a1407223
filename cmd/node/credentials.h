// The cluster's keys and certificates: made on first start, remembered in the node's database, renewed before they expire.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/state_store.h"
#include "async/time.h"
#include "http/tls.h"
#include "pki/authority.h"

namespace monopod::cmd {

struct CredentialOptions {
  std::vector<std::string> dns_names;     // of the API server's certificate
  std::vector<std::string> ip_addresses;
  std::string server_url;                 // in the kubeconfig: https://127.0.0.1:6443
  std::string kubeconfig_path;            // written 0600
};

class Credentials {
 public:
  // Loads or makes CA and service-account key, issues the server's certificate, writes the kubeconfig. All outlive it.
  static async::Task<Result<std::unique_ptr<Credentials>>> open(async::StateStore& state, async::Time& time, CredentialOptions options);

  const std::string& service_account_key_pem() const { return service_account_key_; }
  std::string authority_pem() const { return authority_.certificate_pem(); }
  const pki::CertificateAuthority& authority() const { return authority_; }  // renewed in place
  http::TlsServer& server_tls() { return *server_tls_; }

  // Issues anew whatever has less than a third of its life left, or was made by a clock that has since been set; the authority keeps
  // its key. Looks once a minute. Until cancelled.
  async::Task<Result<>> keep_fresh();

 private:
  Credentials(async::StateStore& state, async::Time& time, CredentialOptions options, pki::CertificateAuthority authority)
      : state_(state), time_(time), options_(std::move(options)), authority_(std::move(authority)) {}
  Result<> issue_server();
  Result<> issue_admin();
  async::Task<Result<>> renew_if_due();
  async::Task<Result<bool>> renew_authority();

  async::StateStore& state_;
  async::Time& time_;
  CredentialOptions options_;
  pki::CertificateAuthority authority_;
  std::string service_account_key_;
  std::unique_ptr<http::TlsServer> server_tls_;
  WallTime server_renew_at_{};
  WallTime admin_renew_at_{};
};

}  // namespace monopod::cmd
