// Pipes through which bytes move between two sockets without leaving the kernel (splice(2)); kept between uses while empty.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "proxy/io/socket.h"

namespace monopod::proxy {

struct Pipe {
  sys::Fd read, write;
  std::size_t held = 0;  // bytes in it
};

class PipePool {
 public:
  // Null: the process has no descriptors left; copy then.
  std::unique_ptr<Pipe> take();
  // One that is not empty is closed.
  void give(std::unique_ptr<Pipe> pipe);

 private:
  std::vector<std::unique_ptr<Pipe>> free_;
};

// Fills the pipe from the socket with at most max bytes; kBlocked also where the pipe is full.
Moved splice_in(Socket& from, Pipe& pipe, std::uint64_t max);
// Empties it into the socket, as far as that takes it. more: bytes will follow soon.
Moved splice_out(Pipe& pipe, Socket& to, bool more);

}  // namespace monopod::proxy
