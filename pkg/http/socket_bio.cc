#include "http/socket_bio.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace monopod::http {
namespace {

bool try_later(int err) { return err == EAGAIN || err == EWOULDBLOCK || err == EINTR; }

BioSocket& socket_of(BIO* bio) { return *static_cast<BioSocket*>(BIO_get_data(bio)); }
int bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  ssize_t n = ::send(socket_of(bio).fd, data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (n < 0 && try_later(errno)) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}
int bio_read(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  BioSocket& socket = socket_of(bio);
  if (std::exchange(socket.drained, false)) {
    BIO_set_retry_read(bio);
    return -1;
  }
  ssize_t n = ::recv(socket.fd, data, static_cast<std::size_t>(size), 0);
  if (n < 0 && try_later(errno)) BIO_set_retry_read(bio);
  socket.drained = n > 0 && n < size / 2;  // who sends whole records may have sent another meanwhile
  if (n == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(n);
}
long bio_control(BIO* bio, int command, long, void*) {
  switch (command) {
    case BIO_CTRL_FLUSH: return 1;
    case BIO_CTRL_EOF: return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    default: return 0;
  }
}
const BIO_METHOD* socket_bio() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "monopod socket");
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

}  // namespace

void attach_socket_bio(ssl_st* ssl, BioSocket& socket) {
  BIO* bio = BIO_new(socket_bio());
  BIO_set_data(bio, &socket);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
}

}  // namespace monopod::http
