// Certificates of listeners, chosen by the name that the client asks for; and who a peer turned out to be.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "http/tls.h"
#include "proxy/config/spec.h"

struct ssl_st;

namespace monopod::proxy {

// Immutable: a rotation is another one, in the next snapshot; live connections go on with theirs.
class ServerTls {
 public:
  static Result<std::shared_ptr<const ServerTls>> make(const ServerTlsSpec& spec);
  const std::shared_ptr<ssl_ctx_st>& context() const { return contexts_.front(); }
  const ServerTlsSpec& spec() const { return spec_; }
  // The context that answers for a name: exact, then "*." of its parent, then the first.
  ssl_ctx_st* find(const std::string& server_name) const;

 private:
  ServerTlsSpec spec_;
  std::vector<std::shared_ptr<ssl_ctx_st>> contexts_;
  std::unordered_map<std::string, std::size_t> names_;
};

struct PeerIdentity {
  std::vector<std::string> uris{};
  std::string common_name{};
};
// Of a connection whose handshake is done and whose peer showed a certificate that verified; else empty.
PeerIdentity peer_identity(ssl_st* ssl);
// ids: whole, or "spiffe://td/ns/*". Empty: any.
bool is_accepted(const std::vector<std::string>& ids, const PeerIdentity& peer);

}  // namespace monopod::proxy
