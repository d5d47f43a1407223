#include "sys/packet_socket.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <cstring>

#include "async/as_result.h"
#include "base/strings.h"

namespace monopod::sys {
namespace {

// Ancillary room for kPacketFdsMax descriptors.
struct Control {
  alignas(struct cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kPacketFdsMax)> bytes{};
};

}  // namespace

Result<SocketPair> make_packet_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) return fail_errno("make socket pair");
  return SocketPair{Fd(fds[0]), Fd(fds[1])};
}

Result<> send_packet(int socket, std::string_view bytes, const std::vector<int>& fds) {
  if (bytes.size() > kPacketBytesMax || bytes.empty()) return fail(Code::kResourceExhausted, cat("message of ", bytes.size(), " bytes"));
  if (fds.size() > kPacketFdsMax) return fail(Code::kResourceExhausted, cat("message with ", fds.size(), " descriptors"));
  struct iovec part = {const_cast<char*>(bytes.data()), bytes.size()};
  Control control;
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * fds.size());
  }
  ssize_t n;
  do n = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0) return fail_errno("send message");
  return {};
}

Result<Packet> receive_packet(int socket, std::size_t bytes_max) {
  Packet out;
  out.bytes.resize(bytes_max);
  struct iovec part = {out.bytes.data(), out.bytes.size()};
  Control control;
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  ssize_t n;
  do n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0) return fail_errno("receive message");
  for (struct cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      out.fds.emplace_back(fd);
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return fail(Code::kDataLoss, "message was truncated");
  out.bytes.resize(static_cast<std::size_t>(n));
  return out;
}

struct PacketSocket::Impl {
  Impl(async::Executor executor, Fd socket) : descriptor(executor, socket.release()) { descriptor.non_blocking(true); }
  async::asio::posix::basic_stream_descriptor<async::Executor> descriptor;
};

PacketSocket::PacketSocket(async::Executor executor, Fd socket) : impl_(std::make_unique<Impl>(executor, std::move(socket))) {}
PacketSocket::~PacketSocket() = default;

void PacketSocket::close() {
  boost::system::error_code ignored;
  impl_->descriptor.close(ignored);
}

async::Task<Result<Packet>> PacketSocket::receive() {
  for (;;) {
    if (!impl_->descriptor.is_open()) co_return fail(Code::kUnavailable, "socket is closed");
    Result<Packet> packet = receive_packet(impl_->descriptor.native_handle());
    if (packet && packet->bytes.empty()) co_return fail(Code::kUnavailable, "end of stream");
    if (packet || (packet.error().os_errno() != EAGAIN && packet.error().os_errno() != EWOULDBLOCK)) co_return packet;
    boost::system::error_code ec = co_await impl_->descriptor.async_wait(async::asio::posix::descriptor_base::wait_read, async::as_code);
    if (ec) co_return fail(async::error_from(ec, "receive message"));
  }
}

async::Task<Result<>> PacketSocket::send(std::string bytes, std::vector<Fd> fds) {
  std::vector<int> numbers;
  for (const Fd& fd : fds) numbers.push_back(fd.get());
  for (;;) {
    if (!impl_->descriptor.is_open()) co_return fail(Code::kUnavailable, "socket is closed");
    Result<> sent = send_packet(impl_->descriptor.native_handle(), bytes, numbers);
    if (sent || (sent.error().os_errno() != EAGAIN && sent.error().os_errno() != EWOULDBLOCK)) co_return sent;
    boost::system::error_code ec = co_await impl_->descriptor.async_wait(async::asio::posix::descriptor_base::wait_write, async::as_code);
    if (ec) co_return fail(async::error_from(ec, "send message"));
  }
}

}  // namespace monopod::sys
