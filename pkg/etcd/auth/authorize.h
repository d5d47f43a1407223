// The one place where a request is let through or refused.
//
// A caller is the user of the token in the request's metadata ("token", or "authorization" as etcd's gateway spells it), else, with
// --client-cert-auth, the common name of its client certificate. Never the certificate of something that passes on what others ask:
// requests that are not gRPC (the JSON gateway) or that say so ("grpcgateway-accept") have no user without a token (CVE-2018-16886).
#pragma once

#include "etcd/auth/auth_store.h"
#include "etcd/methods.h"
#include "http/exchange.h"

namespace monopod::etcd {

// Views into request. client_cert_auth: every client shows a certificate that was verified.
Credentials credentials_of(const http::Request& request, bool client_cert_auth);

// Who was let through, and for what.
struct Admission {
  Identity who{};
  Access access{};
};

// Fails where the caller may not. Without users in this datastore, or with authentication off, everything passes.
async::Task<Result<Identity>> authorize(Context& context, const Access& access);
// The same for a row and a message.
async::Task<Result<Admission>> admit(Context& context, Needs needs, std::string_view message);
// For a call that goes on: may the same user do the same, by the permissions of now? Its token may have expired meanwhile.
async::Task<Result<>> judge_again(Context& context, const Admission& admission);

// A request through one row: authorised, handled, and refused after all where permissions changed under a read.
Answer call_method(Context& context, const Method& method, std::string_view message);
// A stream through one row: each of the client's messages is judged, and the last one again before the first answer after a change of
// users, roles or the switch.
async::Task<Result<>> call_stream(Context& context, http::GrpcServerCall& call, const StreamMethod& stream);

}  // namespace monopod::etcd
