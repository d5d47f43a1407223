// Bytes both ways between a client and an endpoint: TCP, and what is left of HTTP after an upgrade. Small pieces are copied through a slab that is
// given back at once; a direction whose reads fill it is spliced, if neither side is TLS.
//
//   client ──Lane up──► endpoint        a lane ends with its source: then its target is half-closed
//   client ◄─Lane down─ endpoint
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "proxy/io/pipe.h"
#include "proxy/io/slab.h"
#include "proxy/io/socket.h"

namespace monopod::proxy {

class Lane {
 public:
  Lane(SlabPool& slabs, PipePool& pipes) : slabs_(slabs), pipes_(pipes) {}
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Bytes that were read from the source before; at most a slab.
  void preload(std::string_view bytes);
  enum class Outcome : std::uint8_t { kWaiting, kBusy, kEnded, kFailed };
  // As far as it goes. kBusy: more would, but others want their turn.
  Outcome pump(Socket& from, Socket& to);
  std::uint64_t moved() const { return moved_; }
  bool ended() const { return ended_; }
  // All that was read has been written.
  bool is_empty() const { return slab_ == nullptr && !pipe_ && !source_ended_; }

 private:
  // kBytes: empty again.
  Moved::Kind write_out(Socket& to);
  Moved::Kind read_in(Socket& from, Socket& to);
  SlabPool& slabs_;
  PipePool& pipes_;
  char* slab_ = nullptr;
  std::size_t at_ = 0, end_ = 0;
  std::unique_ptr<Pipe> pipe_;
  std::uint64_t moved_ = 0;
  bool source_ended_ = false;
  bool ended_ = false;
};

struct Duplex {
  Duplex(SlabPool& slabs, PipePool& pipes) : up(slabs, pipes), down(slabs, pipes) {}
  // kCut: the client's half was over, and then the client gone: nothing that comes down has anywhere to go. The endpoint's likewise is kFailed.
  enum class Outcome : std::uint8_t { kWaiting, kBusy, kEnded, kFailed, kCut };
  Outcome pump(Socket& client, Socket& endpoint);
  std::uint64_t moved() const { return up.moved() + down.moved(); }
  Lane up, down;
};

}  // namespace monopod::proxy
