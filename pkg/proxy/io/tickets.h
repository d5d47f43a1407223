// Session tickets (RFC 5077, RFC 8446 section 4.6.1): a session that its client keeps, sealed with keys of ours. The keys live in memory alone, are made
// anew every so often and shared by all workers; or they come from files, where several proxies must open each other's tickets.
//
//   made ──► current: seals and opens ── rotate ──► previous: opens, and the client gets a new ticket ── rotate ──► gone
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "proxy/config/spec.h"

struct evp_cipher_ctx_st;
struct evp_mac_ctx_st;

namespace monopod::proxy {

inline constexpr std::size_t kTicketKeyBytes = 80;  // a file's, as nginx has them: name 16, HMAC 32, AES 32

class TicketKeys {
 public:
  // kInvalidArgument: a file of another size.
  static Result<std::shared_ptr<TicketKeys>> make(const TicketSpec& spec, std::uint64_t now_ms);
  const TicketSpec& spec() const { return spec_; }

  // What OpenSSL asks for (SSL_CTX_set_tlsext_ticket_key_evp_cb): 1 good, 2 good but renew, 0 no such key, -1 failed. Any thread.
  int prepare(unsigned char* name, unsigned char* iv, evp_cipher_ctx_st* cipher, evp_mac_ctx_st* mac, bool sealing, std::uint64_t now_ms);

 private:
  struct Key {
    std::string bytes;
    std::uint64_t made_ms = 0;
  };
  explicit TicketKeys(TicketSpec spec) : spec_(std::move(spec)) {}
  void rotate(std::uint64_t now_ms);

  TicketSpec spec_;
  std::mutex mutex_;  // a handshake costs some thousand times as much
  std::vector<Key> keys_;  // the current one first
};

}  // namespace monopod::proxy
