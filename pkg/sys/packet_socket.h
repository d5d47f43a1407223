// Messages with descriptors over a SOCK_SEQPACKET unix socket pair: one message in, one message out, fds by SCM_RIGHTS.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/task.h"
#include "sys/fd.h"

namespace monopod::sys {

struct Packet {
  std::string bytes;
  std::vector<Fd> fds;
};

inline constexpr std::size_t kPacketBytesMax = 128 << 10;  // below the default SO_SNDBUF
inline constexpr std::size_t kPacketFdsMax = 253;      // the kernel's (SCM_MAX_FD)

struct SocketPair {
  Fd first;
  Fd second;
};
Result<SocketPair> make_packet_pair();

// Blocking or not as the descriptor is. Both retry EINTR. An empty bytes from receive is end of stream.
Result<> send_packet(int socket, std::string_view bytes, const std::vector<int>& fds = {});
Result<Packet> receive_packet(int socket, std::size_t bytes_max = kPacketBytesMax);

// The same on the loop. One reader and one writer at a time.
class PacketSocket {
 public:
  PacketSocket(async::Executor executor, Fd socket);
  ~PacketSocket();
  async::Task<Result<Packet>> receive();  // kUnavailable at end of stream
  async::Task<Result<>> send(std::string bytes, std::vector<Fd> fds = {});
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace monopod::sys
