#include "network/netlink/socket.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

#include "base/strings.h"

namespace monopod::network::netlink {
namespace {

constexpr int kReceiveTimeoutSeconds = 10;
constexpr int kBufferBytes = 32 << 20;  // a whole batch must fit the send buffer

Error error_of(const Ack& ack, std::string_view what) {
  return errno_error(ack.os_errno, ack.text.empty() ? std::string(what) : cat(what, ": ", ack.text));
}

}  // namespace

Result<Socket> Socket::open(int protocol) {
  sys::Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return fail_errno("open netlink socket");
  const int on = 1;
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);  // both are refinements: older kernels do without
  ::setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  for (auto [force, plain] : {std::pair{SO_SNDBUFFORCE, SO_SNDBUF}, std::pair{SO_RCVBUFFORCE, SO_RCVBUF}})
    if (::setsockopt(fd.get(), SOL_SOCKET, force, &kBufferBytes, sizeof kBufferBytes) != 0)
      ::setsockopt(fd.get(), SOL_SOCKET, plain, &kBufferBytes, sizeof kBufferBytes);
  const timeval limit{kReceiveTimeoutSeconds, 0};
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) return fail_errno("netlink receive timeout");
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&self), sizeof self) != 0) return fail_errno("bind netlink socket");
  return Socket(std::move(fd));
}

Result<> Socket::send(const Writer& writer, std::string_view what) {
  if (writer.overflown()) return fail(Code::kResourceExhausted, cat(what, ": netlink attribute over 64 KiB"));
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  std::span<const std::uint8_t> bytes = writer.bytes();
  ssize_t sent = 0;
  do {
    sent = ::sendto(fd_.get(), bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return fail_errno(cat(what, ": send ", bytes.size(), " bytes"));
  return {};
}

Result<std::span<const std::uint8_t>> Socket::receive(std::string_view what) {
  for (;;) {
    sockaddr_nl from{};
    iovec part{buffer_.data(), buffer_.size()};
    msghdr head{};
    head.msg_name = &from;
    head.msg_namelen = sizeof from;
    head.msg_iov = &part;
    head.msg_iovlen = 1;
    ssize_t got = ::recvmsg(fd_.get(), &head, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return fail(Code::kDeadlineExceeded, cat(what, ": no answer from the kernel"));
    if (got < 0) return fail_errno(cat(what, ": receive"));
    if (from.nl_pid != 0) continue;  // only the kernel is believed
    if ((head.msg_flags & MSG_TRUNC) != 0) return fail(Code::kResourceExhausted, cat(what, ": netlink answer over ", buffer_.size(), " bytes"));
    return std::span<const std::uint8_t>(buffer_.data(), static_cast<std::size_t>(got));
  }
}

Result<> Socket::request(const Writer& writer, std::string_view what, const std::function<void(const Message&)>& each) {
  TRY(send(writer, what));
  for (;;) {
    TRY_ASSIGN(std::span<const std::uint8_t> datagram, receive(what));
    Messages messages(datagram);
    while (std::optional<Message> message = messages.next()) {
      if (message->sequence != sequence_) continue;
      std::optional<Ack> ack = parse_ack(*message);
      if (!ack) {
        if (each) each(*message);
        continue;
      }
      if (ack->os_errno != 0) return fail(error_of(*ack, what));
      return {};
    }
  }
}

Result<> Socket::dump(const Writer& writer, std::string_view what, const std::function<void(const Message&)>& each) {
  TRY(send(writer, what));
  bool interrupted = false;
  for (;;) {
    TRY_ASSIGN(std::span<const std::uint8_t> datagram, receive(what));
    Messages messages(datagram);
    while (std::optional<Message> message = messages.next()) {
      if (message->sequence != sequence_) continue;
      if ((message->flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
      if (std::optional<Ack> ack = parse_ack(*message)) {
        if (ack->os_errno != 0) return fail(error_of(*ack, what));
        return {};
      }
      if (message->type == NLMSG_DONE) {
        if (interrupted) return fail(Code::kAborted, cat(what, ": changed while it was read"));
        return {};
      }
      each(*message);
    }
  }
}

Result<> Socket::batch(const Writer& writer, Batch range, const std::function<std::string(std::uint32_t)>& what_of) {
  TRY(send(writer, "nftables transaction"));
  std::optional<Error> first;
  for (;;) {
    TRY_ASSIGN(std::span<const std::uint8_t> datagram, receive("nftables transaction"));
    Messages messages(datagram);
    while (std::optional<Message> message = messages.next()) {
      std::uint32_t sequence = message->sequence;
      if (sequence < range.first_sequence || sequence > range.last_sequence) continue;
      std::optional<Ack> ack = parse_ack(*message);
      if (!ack) continue;
      if (ack->os_errno != 0 && !first) first = error_of(*ack, what_of(sequence));
      if (sequence == range.first_sequence && ack->os_errno != 0) return fail(*first);
      if (sequence != range.last_sequence) continue;
      if (first) return fail(*first);
      return {};
    }
  }
}

}  // namespace monopod::network::netlink
