#include "proxy/io/ocsp.h"

#include <openssl/ocsp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/strings.h"
#include "pki/certificate.h"
#include "pki/openssl.h"
#include "proxy/limits.h"

namespace monopod::proxy {
namespace {

template <auto kFree>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Basic = std::unique_ptr<OCSP_BASICRESP, Freed<OCSP_BASICRESP_free>>;
using CertId = std::unique_ptr<OCSP_CERTID, Freed<OCSP_CERTID_free>>;
using Store = std::unique_ptr<X509_STORE, Freed<X509_STORE_free>>;

std::string aia_url(X509* leaf) {
  STACK_OF(OPENSSL_STRING)* all = X509_get1_ocsp(leaf);
  std::string out;
  for (int i = 0; i < sk_OPENSSL_STRING_num(all) && !out.starts_with("http://"); ++i) out = sk_OPENSSL_STRING_value(all, i);
  X509_email_free(all);
  return out;
}

std::string encode_request(X509* leaf, X509* issuer) {
  std::unique_ptr<OCSP_REQUEST, Freed<OCSP_REQUEST_free>> request(OCSP_REQUEST_new());
  CertId id(OCSP_cert_to_id(EVP_sha1(), leaf, issuer));  // names, no secret: what every responder knows (RFC 5019 section 2.1.1)
  unsigned char* der = nullptr;
  if (!request || !id || OCSP_request_add0_id(request.get(), id.get()) == nullptr) return {};
  [[maybe_unused]] OCSP_CERTID* owned = id.release();
  int size = i2d_OCSP_REQUEST(request.get(), &der);
  std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(std::max(size, 0)));
  OPENSSL_free(der);
  return out;
}

Result<Basic> parse_answer(std::string_view der) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
  std::unique_ptr<OCSP_RESPONSE, Freed<OCSP_RESPONSE_free>> answer(d2i_OCSP_RESPONSE(nullptr, &bytes, static_cast<long>(der.size())));
  if (!answer) return fail(Code::kInvalidArgument, "no OCSP answer");
  if (int status = OCSP_response_status(answer.get()); status != OCSP_RESPONSE_STATUS_SUCCESSFUL) return fail(Code::kInvalidArgument, cat("the responder says: ", OCSP_response_status_str(status)));
  Basic basic(OCSP_response_get1_basic(answer.get()));
  if (!basic) return fail(Code::kInvalidArgument, "no basic OCSP answer");
  return basic;
}

// The issuer's own signature, or one of a certificate that it made for that (section 4.2.2.2).
Result<> verify_signature(OCSP_BASICRESP* basic, X509* issuer) {
  Store store(X509_STORE_new());
  STACK_OF(X509)* known = sk_X509_new_null();
  sk_X509_push(known, issuer);
  X509_STORE_add_cert(store.get(), issuer);
  X509_STORE_set_flags(store.get(), X509_V_FLAG_PARTIAL_CHAIN);
  int good = OCSP_basic_verify(basic, known, store.get(), 0);
  sk_X509_free(known);
  if (good != 1) return fail(Code::kInvalidArgument, cat("not signed for the certificate's issuer: ", pki::openssl_reason()));
  return {};
}

std::int64_t seconds_of(const ASN1_GENERALIZEDTIME* time, std::int64_t now_s) {
  int days = 0, seconds = 0;
  std::unique_ptr<ASN1_TIME, Freed<ASN1_TIME_free>> now(ASN1_TIME_set(nullptr, static_cast<time_t>(now_s)));
  if (ASN1_TIME_diff(&days, &seconds, now.get(), time) != 1) return 0;
  return now_s + std::int64_t{days} * 86'400 + seconds;
}

}  // namespace

Result<std::shared_ptr<OcspStaple>> OcspStaple::make(const CertificateSpec& spec) {
  TRY_ASSIGN(std::vector<pki::Certificate> chain, pki::Certificate::parse_bundle_pem(spec.certificate_pem));
  if (chain.size() < 2 || !chain[0].signed_by(chain[1])) return fail(Code::kInvalidArgument, "ocsp_fetch: the issuer does not stand behind the certificate in certificate_file");
  std::shared_ptr<OcspStaple> out(new OcspStaple);
  out->certificate_pem_ = spec.certificate_pem;
  out->asked_url_ = spec.ocsp_url;
  out->refresh_ = spec.ocsp_refresh;
  out->url_ = spec.ocsp_url.empty() ? aia_url(chain[0].handle()) : spec.ocsp_url;
  if (out->url_.empty()) return fail(Code::kInvalidArgument, "ocsp_fetch: the certificate names no responder (AIA), and there is no ocsp_url");
  if (!out->url_.starts_with("http://")) return fail(Code::kInvalidArgument, cat("ocsp_fetch: ", out->url_, ": want an address of http"));
  out->leaf_der_ = chain[0].der();
  out->issuer_der_ = chain[1].der();
  out->request_ = encode_request(chain[0].handle(), chain[1].handle());
  if (out->request_.empty()) return fail(Code::kInternal, "ocsp_fetch: no request could be made");
  return out;
}

Result<> OcspStaple::take(std::string_view der, std::int64_t now_s) {
  TRY_ASSIGN(pki::Certificate leaf, pki::Certificate::parse_der(leaf_der_));
  TRY_ASSIGN(pki::Certificate issuer, pki::Certificate::parse_der(issuer_der_));
  TRY_ASSIGN(Basic basic, parse_answer(der));
  TRY(verify_signature(basic.get(), issuer.handle()));
  CertId id(OCSP_cert_to_id(EVP_sha1(), leaf.handle(), issuer.handle()));
  int status = 0, reason = 0;
  ASN1_GENERALIZEDTIME *revoked = nullptr, *from = nullptr, *until = nullptr;
  if (OCSP_resp_find_status(basic.get(), id.get(), &status, &reason, &revoked, &from, &until) != 1) return fail(Code::kInvalidArgument, "the answer is about another certificate");
  if (status == V_OCSP_CERTSTATUS_UNKNOWN) return fail(Code::kInvalidArgument, "the responder does not know the certificate");
  std::int64_t from_s = seconds_of(from, now_s), until_s = until == nullptr ? now_s + 3'600 : seconds_of(until, now_s);
  if (from_s > now_s + kOcspSkewS) return fail(Code::kInvalidArgument, "the answer is of the future");
  if (until_s <= now_s) return fail(Code::kInvalidArgument, "the answer is over");
  std::lock_guard lock(mutex_);
  answer_ = der;
  until_s_ = until_s;
  due_s_ = now_s + std::max<std::int64_t>(1, std::min((until_s - now_s) / 2, static_cast<std::int64_t>(refresh_.count() / 1000)));
  pause_s_ = 0;
  return {};
}

void OcspStaple::note_failure(std::int64_t now_s) {
  std::lock_guard lock(mutex_);
  pause_s_ = std::clamp<std::int64_t>(pause_s_ * 2, kOcspPauseS, kOcspPauseMaxS);
  due_s_ = now_s + pause_s_;
}

std::int64_t OcspStaple::due_s() const {
  std::lock_guard lock(mutex_);
  return due_s_;
}

std::string OcspStaple::answer(std::int64_t now_s) const {
  std::lock_guard lock(mutex_);
  return now_s < until_s_ ? answer_ : std::string();
}

}  // namespace monopod::proxy
