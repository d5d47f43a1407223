// Distribution protocol client (OCI distribution-spec 1.1), the reading half: manifests and blobs, with bearer and basic
// authentication. One object serves one pull; it lives inside the scope it was given.
//
// Credentials go only to the registry's own host and to the token server that it names; never along a redirect. Plain http is spoken
// to loopback hosts alone. Errors: kNotFound, kUnauthenticated, kPermissionDenied, kUnavailable with what was tried.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "http/client.h"
#include "image/limits.h"
#include "image/reference.h"

namespace monopod::image {

struct RegistryAuth {
  std::string username, password;  // basic, and for the token server
  std::string token;               // a bearer token as it is
};

struct RegistryOptions {
  http::TlsClient* tls = nullptr;       // for https; outlives the pull
  http::Resolver* resolver = nullptr;   // for names; outlives the pull
  std::string base_url;                 // a mirror, "https://host:port"; empty: the reference's own host
  RegistryAuth auth;
};

class RegistryClient {
 public:
  RegistryClient(async::Scope& background, async::Executor executor, async::Time& time, Reference reference, RegistryOptions options);

  struct Document {
    std::string media_type;
    std::string text;
  };
  // By tag or digest. Not verified: the caller compares.
  async::Task<Result<Document>> get_manifest(std::string tag_or_digest, std::size_t bytes_max);
  // The head of the answer is read, redirects are followed.
  async::Task<Result<http::Response>> open_blob(std::string digest);

 private:
  async::Task<Result<http::Response>> get(std::string target, http::Headers headers);
  async::Task<Result<>> authenticate(std::string challenge);
  Result<http::Client*> client_for(const http::Endpoint& endpoint);

  async::Scope& background_;
  async::Executor executor_;
  async::Time& time_;
  Reference reference_;
  RegistryOptions options_;
  http::Endpoint endpoint_;
  std::string authorization_;
  std::map<std::string, std::unique_ptr<http::Client>> clients_;  // by scheme and authority
};

// The endpoint of a reference's domain: docker.io is registry-1.docker.io; loopback speaks http.
Result<http::Endpoint> registry_endpoint(const std::string& domain);

}  // namespace monopod::image
