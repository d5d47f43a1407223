// For this package's tests of TLS: an authority with certificates as files, and a client that speaks TLS.
#pragma once

#include <openssl/ssl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "async/broken_pipe.h"
#include "base/strings.h"
#include "pki/authority.h"
#include "pki/certificate.h"
#include "proxy/test_support.h"
#include "sys/files.h"

namespace monopod::proxy {

inline constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

// An authority, and certificates of it as files.
class Tls : public testing::Test {
 protected:
  Tls() : directory_(cat("/tmp/monopod-proxy-tls-", ::getpid())), authority_(*pki::CertificateAuthority::make(clock_)) {
    async::ignore_broken_pipes();  // OpenSSL writes without MSG_NOSIGNAL
    EXPECT_TRUE(sys::make_directories(directory_));
    write("ca.pem", authority_.certificate_pem());
    issue("a", {.common_name = "a", .dns_names = {"a.test"}, .server = true});
    issue("b", {.common_name = "b", .dns_names = {"*.b.test"}, .server = true});
    issue("web", {.common_name = "web", .uris = {"spiffe://cluster.local/ns/x/sa/web"}, .server = true, .client = true});
    issue("other", {.common_name = "other", .uris = {"spiffe://cluster.local/ns/y/sa/other"}, .server = true, .client = true});
  }
  ~Tls() override { [[maybe_unused]] Result<> removed = sys::remove_tree(directory_); }

  void write(const std::string& name, const std::string& text) { EXPECT_TRUE(sys::replace_file(cat(directory_, "/", name), text)); }
  void issue(const std::string& name, const pki::IssueOptions& options) {
    pki::KeyPair pair = *authority_.issue(clock_, options);
    write(name + ".pem", pair.certificate_pem);
    write(name + ".key", pair.key_pem);
  }
  std::string pair(std::string_view name) const { return cat("certificate_file: ", directory_, "/", name, ".pem, key_file: ", directory_, "/", name, ".key"); }
  std::string ca() const { return cat(directory_, "/ca.pem"); }
  std::string config(std::string_view endpoint, std::string_view tls) const {
    return simple_config(endpoint, cat("  tls: {", tls, "}\n"));
  }

  RealClock clock_;
  std::string directory_;
  pki::CertificateAuthority authority_;
};

// A blocking client.
class TlsPeer {
 public:
  struct Options {
    std::string certificate{}, key{};  // files; empty: none
    SSL_SESSION* resume = nullptr;
    bool wants_ocsp = false;
    bool tls_1_2 = false;
  };
  TlsPeer(std::uint16_t port, const char* server_name) : TlsPeer(port, server_name, Options{}) {}
  TlsPeer(std::uint16_t port, const char* server_name, const Options& options) : client_(port), context_(SSL_CTX_new(TLS_client_method())), ssl_(SSL_new(context_)) {
    if (options.tls_1_2) SSL_set_max_proto_version(ssl_, TLS1_2_VERSION);
    if (!options.certificate.empty()) {
      SSL_use_certificate_file(ssl_, options.certificate.c_str(), SSL_FILETYPE_PEM);
      SSL_use_PrivateKey_file(ssl_, options.key.c_str(), SSL_FILETYPE_PEM);
    }
    if (options.resume != nullptr) SSL_set_session(ssl_, options.resume);
    if (options.wants_ocsp) SSL_set_tlsext_status_type(ssl_, TLSEXT_STATUSTYPE_ocsp);
    SSL_set_fd(ssl_, client_.fd());
    SSL_set_tlsext_host_name(ssl_, server_name);
    if (SSL_connect(ssl_) == 1) {
      X509* leaf = SSL_get0_peer_certificate(ssl_);
      char text[64] = {};
      X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, text, sizeof text);
      name = text;
    }
  }
  ~TlsPeer() {
    SSL_shutdown(ssl_);  // else its session is spoilt
    SSL_free(ssl_);
    SSL_CTX_free(context_);
  }
  std::string ask(std::string_view request, std::size_t want) {
    SSL_write(ssl_, request.data(), static_cast<int>(request.size()));
    std::string out;
    char bytes[16384];
    for (int n = 0; out.size() < want && (n = SSL_read(ssl_, bytes, sizeof bytes)) > 0;) out.append(bytes, static_cast<std::size_t>(n));
    return out;
  }
  // What the server gave to resume by; after ask(). For the caller to free.
  SSL_SESSION* session() { return SSL_get1_session(ssl_); }
  bool resumed() const { return SSL_session_reused(ssl_) == 1; }
  std::string ocsp() {
    const unsigned char* bytes = nullptr;
    long size = SSL_get_tlsext_status_ocsp_resp(ssl_, &bytes);
    return size > 0 ? std::string(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size)) : std::string();
  }
  std::string name;  // common name of the certificate that was shown; empty: no handshake

 private:
  TestClient client_;
  SSL_CTX* context_;
  SSL* ssl_;
};

}  // namespace monopod::proxy
