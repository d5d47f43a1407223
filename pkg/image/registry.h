// Distribution protocol client (OCI distribution-spec 1.1): manifests and blobs both ways, with bearer and basic authentication. One object
// serves one pull or push; it lives inside the scope it was given.
//
// Credentials go only to the registry's own host and to the token server that it names; never along a redirect. Plain http is spoken
// to loopback hosts, and to the one that options say it for. A busy registry (429, 502 to 504) is asked again a few times, when it says or
// after 1, 2, 4 seconds. Errors: kNotFound, kUnauthenticated, kPermissionDenied, kUnavailable with what was tried.
#pragma once

#include <functional>
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
  bool plain_http = false;              // the registry speaks http although it is not on loopback
  bool writes = false;                  // a token for pushing is asked for
  std::string mount_from;               // a repository of the same registry that will be mounted from: the token covers it
  Duration stall_timeout = std::chrono::seconds(60);  // nothing of a body came, or could be sent, for so long
};

class RegistryClient {
 public:
  RegistryClient(async::Scope& background, async::Executor executor, async::Time& time, Reference reference, RegistryOptions options);

  // GET /v2/: that it speaks the protocol, and takes the credentials.
  async::Task<Result<>> check_access();

  struct Document {
    std::string media_type;
    std::string text;
  };
  // By tag or digest; redirects are followed. Not verified: the caller compares.
  async::Task<Result<Document>> get_manifest(std::string tag_or_digest, std::size_t bytes_max);
  // From its offset on; the head of the answer is read, redirects are followed. A registry may send all of it: then status is 200, else 206.
  async::Task<Result<http::Response>> open_blob(std::string digest, std::uint64_t offset = 0);
  // The next bytes; null at the end. kDeadlineExceeded where the registry stalls.
  async::Task<Result<SharedBytes>> read_chunk(http::Body& body);

  // For a push. bytes(offset) gives some bytes from there on, never none before size.
  using ReadBlob = std::function<async::Task<Result<std::string>>(std::uint64_t offset)>;
  struct BlobToPush {
    std::string digest;
    std::uint64_t size = 0;
    ReadBlob read;
    std::function<void(std::uint64_t sent)> progress;  // may be empty
  };
  async::Task<Result<bool>> has_blob(std::string digest);
  // Mounted from options.mount_from where that has it. An upload that breaks off is gone on with from where the registry is.
  async::Task<Result<>> push_blob(const BlobToPush& blob);
  async::Task<Result<>> put_manifest(std::string tag_or_digest, std::string media_type, std::string text);

 private:
  // url: a path, or what the registry said to go to.
  struct Target {
    http::Client* client = nullptr;
    std::string path;
    bool own = false;  // the registry itself: it gets the credentials
  };
  Result<Target> target_for(std::string url);
  async::Task<Result<http::Response>> send(std::string method, std::string url, http::Headers headers = {}, SharedBytes body = nullptr);
  async::Task<Result<http::Response>> fetch(std::string url, http::Headers headers);  // GET, along redirects
  async::Task<Result<http::Response>> stream(const std::string& url, const BlobToPush& blob, std::uint64_t offset);
  async::Task<Result<std::string>> begin_upload(const BlobToPush& blob, bool mount);
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

// What the registry says went wrong, one line.
async::Task<Error> error_of(http::Response response);
// The endpoint of a reference's domain: docker.io is registry-1.docker.io; loopback speaks http.
Result<http::Endpoint> registry_endpoint(const std::string& domain);

}  // namespace monopod::image
