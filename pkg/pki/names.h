// Private: subject and alternative names between OpenSSL's structures and Identity.
#pragma once

#include <openssl/x509v3.h>

#include "base/error.h"
#include "pki/authority.h"
#include "pki/certificate.h"

namespace monopod::pki {

Result<> read_subject(const X509_NAME* subject, Identity& into);
Result<> read_alternative_names(const GENERAL_NAMES* names, Identity& into);

// Fails on empty, over-long or control-character names and on addresses that are not literals.
Result<> write_subject(const IssueOptions& options, X509_NAME* into);
// The subjectAltName extension; null when the options name nothing.
Result<X509_EXTENSION*> make_alternative_names(const IssueOptions& options);

}  // namespace monopod::pki
