// Certificates that their authority took back: a list of revocations (CRL, RFC 5280 section 5) from a file. Asked at handshakes by OpenSSL, and of live
// connections when a new list comes.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"

struct ssl_ctx_st;
struct X509_crl_st;
struct x509_st;

namespace monopod::proxy {

class Revocations {
 public:
  // pem: one list or more, each signed by one of the authorities. kInvalidArgument: broken, or signed by somebody else.
  static Result<std::shared_ptr<const Revocations>> parse(std::string_view pem, std::string_view authorities_pem);
  // Leaves are checked from now on, and one whose issuer has no list, or an old one, does not verify: the want of a list must not open the door.
  Result<> add_to(ssl_ctx_st* context) const;
  bool revoked(x509_st* certificate) const;

 private:
  std::vector<std::shared_ptr<X509_crl_st>> lists_;
};

}  // namespace monopod::proxy
