// A netlink socket of the network namespace of the thread that opened it. Requests are answered by the kernel in the
// sendmsg call itself (no waiting for other processes); a receive timeout guards against surprises all the same.
#pragma once

#include <functional>
#include <string_view>

#include "network/netlink/message.h"
#include "sys/fd.h"

namespace monopod::network::netlink {

class Socket {
 public:
  // protocol: NETLINK_ROUTE, NETLINK_NETFILTER.
  static Result<Socket> open(int protocol);

  std::uint32_t next_sequence() { return ++sequence_; }

  // One message written with NLM_F_ACK and the last sequence drawn. Errors: "<what>: <kernel's words>: <errno text>".
  // each, if given, sees what the kernel sends before its acknowledgement.
  Result<> request(const Writer& writer, std::string_view what, const std::function<void(const Message&)>& each = {});
  // One message written with NLM_F_DUMP. kAborted when the kernel's table changed meanwhile: ask again.
  Result<> dump(const Writer& writer, std::string_view what, const std::function<void(const Message&)>& each);
  // Many messages; the one of last_sequence asked for an ACK, and every failing one is reported. first_sequence is the
  // batch's own (its failure means that nothing was read). what_of names a message by its sequence.
  struct Batch {
    std::uint32_t first_sequence = 0;
    std::uint32_t last_sequence = 0;
  };
  Result<> batch(const Writer& writer, Batch range, const std::function<std::string(std::uint32_t)>& what_of);

 private:
  explicit Socket(sys::Fd fd) : fd_(std::move(fd)), buffer_(64U << 10) {}
  Result<> send(const Writer& writer, std::string_view what);
  Result<std::span<const std::uint8_t>> receive(std::string_view what);

  sys::Fd fd_;
  std::vector<std::uint8_t> buffer_;
  std::uint32_t sequence_ = 0;
};

}  // namespace monopod::network::netlink
