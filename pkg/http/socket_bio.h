// What OpenSSL reads and writes a non-blocking socket through: it never raises SIGPIPE, and spares the call that would only find the socket drained.
#pragma once

struct ssl_st;

namespace monopod::http {

struct BioSocket {
  int fd = -1;           // not owned
  bool drained = false;  // much less came than was asked for: there is no more before the next wait, which looks anew
};

// socket outlives ssl.
void attach_socket_bio(ssl_st* ssl, BioSocket& socket);

}  // namespace monopod::http
