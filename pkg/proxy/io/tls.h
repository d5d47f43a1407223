// Certificates of listeners, chosen by the name that the client asks for; and who a peer turned out to be.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "http/tls.h"
#include "proxy/config/spec.h"
#include "proxy/io/ocsp.h"
#include "proxy/io/revocation.h"
#include "proxy/io/tickets.h"

struct ssl_st;
struct ssl_session_st;

namespace monopod::proxy {

// Immutable: a rotation is another one, in the next snapshot; live connections go on with theirs.
class ServerTls {
 public:
  // before: of the listener before this one, so that what clients keep outlives a rotation of certificates, and OCSP's answers a change; may be null.
  static Result<std::shared_ptr<const ServerTls>> make(const ServerTlsSpec& spec, const ServerTls* before);
  const std::shared_ptr<ssl_ctx_st>& context() const { return contexts_.front(); }
  const ServerTlsSpec& spec() const { return spec_; }
  const std::vector<std::shared_ptr<OcspStaple>>& staples() const { return staples_; }  // that are to be asked for
  const Revocations* revocations() const { return revocations_.get(); }  // null: none
  // The context that answers for a name: exact, then "*." of its parent, then the first.
  ssl_ctx_st* find(const std::string& server_name) const;

 private:
  Result<> add_staple(ssl_ctx_st* context, const CertificateSpec& spec, const ServerTls* before);
  ServerTlsSpec spec_;
  std::shared_ptr<TicketKeys> tickets_;
  std::vector<std::shared_ptr<OcspStaple>> staples_;
  std::shared_ptr<const Revocations> revocations_;
  std::vector<std::shared_ptr<ssl_ctx_st>> contexts_;
  std::unordered_map<std::string, std::size_t> names_;
};

// A client's side: the last session of an endpoint, kept to be resumed.
struct KeptSession {
  std::shared_ptr<ssl_session_st> session{};
};
// Makes a client's context one that resumes (sessions go to the KeptSession that is the SSL's app data, where there is one), refuses what was revoked
// and logs keys, as the specification says.
Result<std::shared_ptr<const Revocations>> equip_client(ssl_ctx_st* context, const ClientTlsSpec& spec);

void resume(ssl_st* ssl, const KeptSession& kept);

struct PeerIdentity {
  std::vector<std::string> uris{};
  std::string common_name{};
  std::uint64_t cut_at_ms = ~std::uint64_t{0};  // on the worker's clock: when its connection ends, its certificate being over by then
};
// When a connection has to end for its peer's certificate: its expiry, or with revoked now, and the grace.
std::uint64_t cut_time_ms(ssl_st* ssl, const Revocations* revocations, Milliseconds grace, std::uint64_t now_ms);
// Whether the peer's certificate, which a resumed session shows without another check, is over or revoked by now.
bool is_over(ssl_st* ssl, const Revocations* revocations);
// Of a connection whose handshake is done and whose peer showed a certificate that verified; else empty.
PeerIdentity peer_identity(ssl_st* ssl);
// ids: whole, or "spiffe://td/ns/*". Empty: any.
bool is_accepted(const std::vector<std::string>& ids, const PeerIdentity& peer);

}  // namespace monopod::proxy
