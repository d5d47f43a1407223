// Two plain sockets of this process joined inside the kernel: what comes in on one goes out on the other without this process (sockmap, an eBPF verdict
// on each received segment). For what the kernel itself does not do there is a protocol of four counters for each way, in memory that both see:
//
//   program, for each segment:  passed == done and sent + size <= limit ?  sent += size, redirect  :  passed += size, leave it to the process
//   process:                    limit = what has left + kJoinBytesAhead;   done = what it was left and has written itself
//
// The kernel holds no writer back for a reader that is slow: a gigabyte waits in its queues. The limit does: what is beyond it stays in the socket, whose
// window closes, and the process, which is told once (ring buffer; also when half of the limit is used), brings it over when all before it has left. The program decides alone when it goes
// on, at the arrival of a segment with nothing before it: no byte overtakes another.
//
// Needs CAP_BPF and CAP_NET_ADMIN; make() says what is missing. One for each worker.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/error.h"
#include "proxy/io/poller.h"
#include "sys/fd.h"

namespace monopod::proxy {

// Shared with the program: its layout is known there.
struct alignas(64) JoinedWay {
  std::atomic<std::uint64_t> sent, passed;  // the program's
  std::atomic<std::uint64_t> done, limit;   // ours
};

class Sockmap;

// Who is told that something was left to it, or that half of its limit is used. It may only take note.
class JoinUser {
 public:
  virtual void on_join() = 0;

 protected:
  ~JoinUser() = default;
};

// Two sockets in the map. Close both before it dies.
class Join {
 public:
  Join(Sockmap& owner, std::uint32_t slot, JoinUser& user) : owner_(owner), slot_(slot), user_(user) {}
  ~Join();
  Join(const Join&) = delete;
  Join& operator=(const Join&) = delete;
  // up: from the first socket to the second.
  JoinedWay& up();
  JoinedWay& down();

 private:
  friend class Sockmap;
  Sockmap& owner_;
  std::uint32_t slot_;
  JoinUser& user_;
  std::uint64_t cookies_[2] = {0, 0};
};

class Sockmap final : public Pollable {
 public:
  // kPermissionDenied, kUnimplemented and so on: why the kernel does not do it.
  static Result<std::unique_ptr<Sockmap>> make(Poller& poller);
  ~Sockmap() override;

  // Joins the sockets, which are connected, plain, and not written by the caller any more; both ways begin with nothing before them and a limit of
  // kJoinBytesAhead. What has come in already is brought over at once. Null: no room, or the kernel refuses; all is as before then. An error: bytes are
  // lost.
  Result<std::unique_ptr<Join>> join(int first, int second, JoinUser& user);
  void on_ready(std::uint32_t events) override;

 private:
  friend class Join;
  Sockmap() = default;
  sys::Fd sockets_, flows_, ways_, ring_, program_;
  JoinedWay* shared_ = nullptr;          // kJoinsMax * 2
  void* consumer_ = nullptr;             // pages of the ring
  const void* producer_ = nullptr;
  std::vector<std::uint32_t> free_;      // slots
  std::vector<Join*> joins_;             // by slot
};

}  // namespace monopod::proxy
