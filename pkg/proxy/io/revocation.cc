#include "proxy/io/revocation.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "base/strings.h"
#include "pki/certificate.h"
#include "pki/openssl.h"

namespace monopod::proxy {
namespace {

constexpr std::size_t kListsMax = 64;

bool signed_by_one(X509_CRL* list, const std::vector<pki::Certificate>& authorities) {
  return std::ranges::any_of(authorities, [list](const pki::Certificate& authority) {
    EVP_PKEY* key = X509_get0_pubkey(authority.handle());
    return X509_NAME_cmp(X509_get_subject_name(authority.handle()), X509_CRL_get_issuer(list)) == 0 && key != nullptr && (X509_get_key_usage(authority.handle()) & KU_CRL_SIGN) != 0 &&
           X509_CRL_verify(list, key) == 1;
  });
}

}  // namespace

Result<std::shared_ptr<const Revocations>> Revocations::parse(std::string_view pem, std::string_view authorities_pem) {
  TRY_ASSIGN(std::vector<pki::Certificate> authorities, pki::Certificate::parse_bundle_pem(authorities_pem));
  std::shared_ptr<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  auto out = std::make_shared<Revocations>();
  while (out->lists_.size() <= kListsMax) {
    std::shared_ptr<X509_CRL> list(PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr), X509_CRL_free);
    if (!list) break;
    if (!signed_by_one(list.get(), authorities)) return fail(Code::kInvalidArgument, "crl: not signed by an authority of the CA file that may sign lists (key usage cRLSign)");
    out->lists_.push_back(std::move(list));
  }
  bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (!at_end || out->lists_.empty() || out->lists_.size() > kListsMax) return fail(Code::kInvalidArgument, cat("crl: want 1 to ", kListsMax, " sound blocks of \"X509 CRL\" in PEM"));
  return std::shared_ptr<const Revocations>(std::move(out));
}

Result<> Revocations::add_to(ssl_ctx_st* context) const {
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const auto& list : lists_)
    if (X509_STORE_add_crl(store, list.get()) != 1) return fail(Code::kInvalidArgument, cat("crl: ", pki::openssl_reason()));
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
  return {};
}

bool Revocations::revoked(x509_st* certificate) const {
  return std::ranges::any_of(lists_, [certificate](const auto& list) {
    X509_REVOKED* entry = nullptr;
    return X509_NAME_cmp(X509_CRL_get_issuer(list.get()), X509_get_issuer_name(certificate)) == 0 && X509_CRL_get0_by_cert(list.get(), &entry, certificate) == 1;
  });
}

}  // namespace monopod::proxy
