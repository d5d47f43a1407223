// Private: one connected socket, plain or TLS, as the connections of this package use it. Beside the async::Stream calls it has
// calls that do not wait, so that an idle connection holds no buffer: wait_readable() first, then try_read() into the
// stack. For TLS, OpenSSL reads the socket itself through a small BIO; its buffers are released between records.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "async/stream.h"
#include "http/tls.h"
#include "sys/fd.h"

namespace monopod::http {

class Transport : public async::Stream {
 public:
  // Bytes moved; nullopt: would block.
  using Moved = std::optional<std::size_t>;
  // 0 at end of stream. Less than the span: drained, and wait_readable() tells of more (or of the end).
  virtual Result<Moved> try_read(std::span<std::byte> into) = 0;
  virtual Result<Moved> try_write(std::span<const iovec> parts) = 0;
  virtual async::Task<Result<>> wait_readable() = 0;
  virtual async::Task<Result<>> wait_writable() = 0;
  // TLS: waits for the handshake; bound it. Plain: nothing.
  virtual async::Task<Result<>> handshake() = 0;
  virtual std::string alpn() const = 0;  // "h2", "http/1.1" or empty
  virtual std::vector<std::string> peer_certificates_der() const = 0;
  virtual bool tls() const = 0;
  // After an end of stream: the peer has closed both ways, and nothing can be sent to it either. Known of unix sockets at once, of TCP once it says so.
  virtual bool peer_gone() const = 0;

  async::Task<Result<std::size_t>> read_some(std::span<std::byte> into) override;
  async::Task<Result<>> write_all(std::span<const std::byte> bytes) override;
  async::Task<Result<>> write_parts(std::span<const std::span<const std::byte>> parts) override;
};

// Sets the socket non-blocking, keep-alive and no-delay.
Result<std::unique_ptr<Transport>> make_transport(async::Executor executor, sys::Fd socket);
Result<std::unique_ptr<Transport>> make_tls_server_transport(async::Executor executor, sys::Fd socket, std::shared_ptr<ssl_ctx_st> context);
struct TlsClientTarget {
  std::string server_name;  // a DNS name or an IP literal
  bool verify = true;
  bool offer_http2 = true;
};
Result<std::unique_ptr<Transport>> make_tls_client_transport(async::Executor executor, sys::Fd socket, std::shared_ptr<ssl_ctx_st> context,
                                                             const TlsClientTarget& target);

std::string format_peer_address(int socket);

}  // namespace monopod::http
