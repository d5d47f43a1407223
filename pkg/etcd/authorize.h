// The one place where a request is let through or refused.
//
// A caller is the user of the token in the request's metadata ("token", or "authorization" as etcd's gateway spells it), else, with
// --client-cert-auth, the common name of its client certificate. Never the certificate of something that passes on what others ask:
// requests that are not gRPC (the JSON gateway) or that say so ("grpcgateway-accept") have no user without a token (CVE-2018-16886).
#pragma once

#include "etcd/auth_store.h"
#include "etcd/methods.h"
#include "http/exchange.h"

namespace monopod::etcd {

// client_cert_auth: every client shows a certificate that was verified.
Credentials credentials_of(const http::Request& request, bool client_cert_auth);

// Fails where the caller may not. Without users in this datastore, or with authentication off, everything passes.
async::Task<Result<Identity>> authorize(Context& context, const Access& access);
async::Task<Result<Identity>> authorize(Context& context, Needs needs, std::string_view message);

// A request through one row: authorised, handled, and refused after all where permissions changed under a read.
Answer call_method(Context& context, const Method& method, std::string_view message);

}  // namespace monopod::etcd
