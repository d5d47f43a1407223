#include "proxy/io/tls.h"

#include <fcntl.h>
#include <openssl/ocsp.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>

#include "base/log.h"
#include "base/strings.h"
#include "pki/certificate.h"
#include "pki/digest.h"
#include "pki/openssl.h"
#include "sys/fd.h"

namespace monopod::proxy {
namespace {

int choose_certificate(SSL* ssl, int*, void* server) {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_OK;
  ssl_ctx_st* context = static_cast<const ServerTls*>(server)->find(to_lower(name));
  if (context != SSL_get_SSL_CTX(ssl)) SSL_set_SSL_CTX(ssl, context);
  return SSL_TLSEXT_ERR_OK;
}

// What a context's callbacks need, for as long as it lives.
struct Extras {
  std::shared_ptr<TicketKeys> tickets;
  sys::Fd key_log;
  std::string ocsp;
  std::int64_t ocsp_until_s = 0;
  std::shared_ptr<OcspStaple> staple;  // instead of these two
};

void free_extras(void*, void* extras, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<Extras*>(extras); }

int extras_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, free_extras);
  return index;
}

Extras& extras_of(ssl_ctx_st* context) {
  auto* extras = static_cast<Extras*>(SSL_CTX_get_ex_data(context, extras_index()));
  if (extras == nullptr) SSL_CTX_set_ex_data(context, extras_index(), extras = new Extras);
  return *extras;
}

std::uint64_t steady_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<Milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

int seal_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int sealing) {
  int result = extras_of(SSL_get_SSL_CTX(ssl)).tickets->prepare(name, iv, cipher, mac, sealing != 0, steady_ms());
  // Clients of TLS 1.3 use a ticket once (RFC 8446 appendix C.4): they get the next one.
  return result == 1 && sealing == 0 && SSL_version(ssl) == TLS1_3_VERSION ? 2 : result;
}

void log_key(const SSL* ssl, const char* line) {
  std::string text = cat(line, "\n");
  [[maybe_unused]] ssize_t n = ::write(extras_of(SSL_get_SSL_CTX(ssl)).key_log.get(), text.data(), text.size());
}

Result<> log_keys(ssl_ctx_st* context, const std::string& path) {
  if (path.empty()) return {};
  sys::Fd file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return fail_errno(cat("key_log_file ", path));
  log::warn("keys of TLS connections are written to a file: whoever reads it reads the traffic", {{"path", path}});
  extras_of(context).key_log = std::move(file);
  SSL_CTX_set_keylog_callback(context, log_key);
  return {};
}

// Sessions of one specification resume under it alone: one that was made while others were trusted is worth nothing (RFC 5077 section 5).
void bind_sessions(ssl_ctx_st* context, const ServerTlsSpec& spec) {
  std::string trust = cat(spec.client_ca_pem, "\n", spec.require_client_certificate ? "required" : "", "\n", join(spec.spiffe_ids, "\n"));
  std::string digest = pki::sha256(trust);
  SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>(digest.data()), static_cast<unsigned>(std::min<std::size_t>(digest.size(), SSL_MAX_SID_CTX_LENGTH)));
}

void offer_tickets(ssl_ctx_st* context, const ServerTlsSpec& spec, std::shared_ptr<TicketKeys> keys) {
  extras_of(context).tickets = std::move(keys);
  SSL_CTX_clear_options(context, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context, 1);  // what a client needs that keeps its last one
  SSL_CTX_set_timeout(context, std::max<long>(1, spec.tickets.rotate.count() / 1000));
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, seal_ticket);
}

int staple_answer(SSL* ssl, void*) {
  const Extras& extras = extras_of(SSL_get_SSL_CTX(ssl));
  std::int64_t now = std::time(nullptr);
  std::string fetched = extras.staple ? extras.staple->answer(now) : std::string();
  const std::string& answer = extras.staple ? fetched : extras.ocsp;
  if (answer.empty() || (!extras.staple && extras.ocsp_until_s < now)) return SSL_TLSEXT_ERR_NOACK;  // an old answer is worse than none
  auto* copy = static_cast<unsigned char*>(OPENSSL_memdup(answer.data(), answer.size()));
  if (copy == nullptr) return SSL_TLSEXT_ERR_NOACK;
  SSL_set_tlsext_status_ocsp_resp(ssl, copy, static_cast<long>(answer.size()));
  return SSL_TLSEXT_ERR_OK;
}

std::int64_t seconds_from_now(const ASN1_TIME* time) {
  int days = 0, seconds = 0;
  if (ASN1_TIME_diff(&days, &seconds, nullptr, time) != 1) return -1;
  return std::int64_t{days} * 86'400 + seconds;
}

// An answer about the very certificate; whether that is good is for the client to read.
Result<> use_ocsp(ssl_ctx_st* context, const std::string& der) {
  if (der.empty()) return {};
  const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
  std::unique_ptr<OCSP_RESPONSE, decltype(&OCSP_RESPONSE_free)> answer(d2i_OCSP_RESPONSE(nullptr, &bytes, static_cast<long>(der.size())), OCSP_RESPONSE_free);
  std::unique_ptr<OCSP_BASICRESP, decltype(&OCSP_BASICRESP_free)> basic(answer ? OCSP_response_get1_basic(answer.get()) : nullptr, OCSP_BASICRESP_free);
  ERR_clear_error();
  if (!basic || OCSP_response_status(answer.get()) != OCSP_RESPONSE_STATUS_SUCCESSFUL) return fail(Code::kInvalidArgument, "ocsp_file: not an OCSP answer (DER) that says something");
  for (int i = 0; i < OCSP_resp_count(basic.get()); ++i) {
    OCSP_SINGLERESP* single = OCSP_resp_get0(basic.get(), i);
    ASN1_INTEGER* serial = nullptr;
    OCSP_id_get0_info(nullptr, nullptr, nullptr, &serial, const_cast<OCSP_CERTID*>(OCSP_SINGLERESP_get0_id(single)));
    if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(SSL_CTX_get0_certificate(context))) != 0) continue;
    ASN1_GENERALIZEDTIME* next = nullptr;
    OCSP_single_get0_status(single, nullptr, nullptr, nullptr, &next);
    std::int64_t left = next == nullptr ? 86'400 : seconds_from_now(next);
    if (left <= 0) log::warn("an OCSP answer is over and is not stapled", {});
    Extras& extras = extras_of(context);
    extras.ocsp = der;
    extras.ocsp_until_s = std::time(nullptr) + left;
    SSL_CTX_set_tlsext_status_cb(context, staple_answer);
    return {};
  }
  return fail(Code::kInvalidArgument, "ocsp_file: the answer is about another certificate");
}

int keep_session(SSL* ssl, SSL_SESSION* session) {
  auto* kept = static_cast<KeptSession*>(SSL_get_app_data(ssl));
  if (kept == nullptr || SSL_SESSION_is_resumable(session) != 1) return 0;
  kept->session.reset(session, SSL_SESSION_free);
  return 1;  // ours now
}

}  // namespace

Result<std::shared_ptr<const Revocations>> equip_client(ssl_ctx_st* context, const ClientTlsSpec& spec) {
  TRY(log_keys(context, spec.peers.key_log_path));
  if (spec.resume) {
    SSL_CTX_clear_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_session);
  }
  if (spec.peers.crl_pem.empty()) return nullptr;
  if (spec.ca_pem.empty()) return fail(Code::kInvalidArgument, "crl_file wants a ca_file");
  TRY_ASSIGN(std::shared_ptr<const Revocations> revocations, Revocations::parse(spec.peers.crl_pem, spec.ca_pem));
  TRY(revocations->add_to(context));
  return revocations;
}

void resume(ssl_st* ssl, const KeptSession& kept) {
  SSL_SESSION* copy = SSL_SESSION_dup(kept.session.get());  // OpenSSL spoils what was resumed once; several connections may begin at a time
  SSL_set_session(ssl, copy);
  SSL_SESSION_free(copy);
}

std::uint64_t cut_time_ms(ssl_st* ssl, const Revocations* revocations, Milliseconds grace, std::uint64_t now_ms) {
  X509* leaf = ssl == nullptr ? nullptr : SSL_get0_peer_certificate(ssl);
  if (leaf == nullptr) return ~std::uint64_t{0};
  std::int64_t left_s = std::max<std::int64_t>(0, seconds_from_now(X509_get0_notAfter(leaf)));
  if (revocations != nullptr && revocations->revoked(leaf)) left_s = 0;
  return now_ms + static_cast<std::uint64_t>(left_s) * 1000 + static_cast<std::uint64_t>(grace.count());
}

bool is_over(ssl_st* ssl, const Revocations* revocations) {
  X509* leaf = SSL_get0_peer_certificate(ssl);
  return leaf != nullptr && (seconds_from_now(X509_get0_notAfter(leaf)) < 0 || (revocations != nullptr && revocations->revoked(leaf)));
}

Result<> ServerTls::add_staple(ssl_ctx_st* context, const CertificateSpec& spec, const ServerTls* before) {
  if (!spec.ocsp_fetch) return use_ocsp(context, spec.ocsp_der);
  std::shared_ptr<OcspStaple> staple;
  if (before != nullptr)
    for (const auto& old : before->staples_)
      if (old->is_for(spec)) staple = old;
  if (!staple) {
    TRY_ASSIGN(staple, OcspStaple::make(spec));
  }
  extras_of(context).staple = staple;
  SSL_CTX_set_tlsext_status_cb(context, staple_answer);
  staples_.push_back(std::move(staple));
  return {};
}

Result<std::shared_ptr<const ServerTls>> ServerTls::make(const ServerTlsSpec& spec, const ServerTls* before) {
  auto out = std::make_shared<ServerTls>();
  out->spec_ = spec;
  if (before != nullptr && before->tickets_ && before->tickets_->spec() == spec.tickets) out->tickets_ = before->tickets_;
  if (!out->tickets_ && spec.tickets.enabled) {
    TRY_ASSIGN(out->tickets_, TicketKeys::make(spec.tickets, steady_ms()));
  }
  if (!spec.peers.crl_pem.empty()) {
    TRY_ASSIGN(out->revocations_, Revocations::parse(spec.peers.crl_pem, spec.client_ca_pem));
  }
  for (std::size_t i = 0; i < spec.certificates.size(); ++i) {
    const CertificateSpec& c = spec.certificates[i];
    http::TlsServerOptions options{.certificate_pem = c.certificate_pem, .key_pem = c.key_pem, .client_ca_pem = spec.client_ca_pem, .http2 = spec.http2};
    if (!spec.client_ca_pem.empty()) options.client_certificate = spec.require_client_certificate ? http::ClientCertificate::kRequired : http::ClientCertificate::kOptional;
    auto made = http::TlsServer::make(options);
    if (!made) return fail(std::move(made).error().with(cat("certificates[", i, "]")));
    std::shared_ptr<ssl_ctx_st> context = (*made)->context();
    if (spec.tls_1_3_only) SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION);
    bind_sessions(context.get(), spec);
    if (out->tickets_) offer_tickets(context.get(), spec, out->tickets_);
    if (out->revocations_) TRY(out->revocations_->add_to(context.get()));
    TRY(log_keys(context.get(), spec.peers.key_log_path));
    if (Result<> used = out->add_staple(context.get(), c, before); !used) return fail(Error(used.error()).with(cat("certificates[", i, "]")));
    std::vector<std::string> names = c.server_names;
    if (names.empty()) {
      TRY_ASSIGN(pki::Certificate leaf, pki::Certificate::parse_pem(c.certificate_pem));
      TRY_ASSIGN(pki::Identity identity, leaf.identity());
      names = identity.dns_names;
    }
    for (const std::string& name : names) out->names_.emplace(to_lower(name), i);
    out->contexts_.push_back(std::move(context));
  }
  SSL_CTX_set_tlsext_servername_callback(out->contexts_.front().get(), choose_certificate);
  SSL_CTX_set_tlsext_servername_arg(out->contexts_.front().get(), out.get());
  return std::shared_ptr<const ServerTls>(std::move(out));
}

ssl_ctx_st* ServerTls::find(const std::string& server_name) const {
  auto found = names_.find(server_name);
  if (std::size_t dot = server_name.find('.'); found == names_.end() && dot != std::string::npos) found = names_.find(cat("*", server_name.substr(dot)));
  return contexts_[found == names_.end() ? 0 : found->second].get();
}

PeerIdentity peer_identity(ssl_st* ssl) {
  PeerIdentity out;
  X509* leaf = SSL_get0_peer_certificate(ssl);
  if (leaf == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return out;
  unsigned char* der = nullptr;
  int size = i2d_X509(leaf, &der);
  if (size <= 0) return out;
  auto parsed = pki::Certificate::parse_der({reinterpret_cast<char*>(der), static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  if (!parsed) return out;
  if (auto identity = parsed->identity()) {
    out.uris = std::move(identity->uris);
    out.common_name = std::move(identity->common_name);
  }
  return out;
}

bool is_accepted(const std::vector<std::string>& ids, const PeerIdentity& peer) {
  if (ids.empty()) return true;
  return std::ranges::any_of(ids, [&peer](std::string_view id) {
    bool prefix = id.ends_with("/*");
    return std::ranges::any_of(peer.uris, [&](std::string_view uri) { return prefix ? uri.starts_with(id.substr(0, id.size() - 1)) : uri == id; });
  });
}

}  // namespace monopod::proxy
