// Private to pki and http's TLS: owning pointers for OpenSSL's types, BIO helpers, error text.
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "pki/random.h"

namespace monopod::pki {

template <auto Free>
struct OpensslFree {
  template <typename T>
  void operator()(T* p) const { Free(p); }
};
template <typename T, auto Free>
using Owned = std::unique_ptr<T, OpensslFree<Free>>;

using OwnedBio = Owned<BIO, BIO_free_all>;
using OwnedKey = Owned<EVP_PKEY, EVP_PKEY_free>;
using OwnedX509 = Owned<X509, X509_free>;
using OwnedBignum = Owned<BIGNUM, BN_free>;

inline OwnedBio read_bio(std::string_view text) { return OwnedBio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }
inline OwnedBio make_bio() { return OwnedBio(BIO_new(BIO_s_mem())); }
inline std::string bio_text(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

// The newest queued error's reason ("bad signature"), never data; empties the queue.
inline std::string openssl_reason() {
  unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown reason" : reason;
}

// A passphrase callback that refuses: encrypted keys are an error, not a prompt.
inline int no_passphrase(char*, int, int, void*) { return -1; }

}  // namespace monopod::pki
