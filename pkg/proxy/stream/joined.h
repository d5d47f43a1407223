// A TCP connection that the kernel carries (io/sockmap.h), and what is left to the process: what went beyond the limit, ends, and counting. Both sockets
// tell of ends and errors alone; a connection whose peers keep up costs a look per half of kJoinBytesAhead.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "proxy/io/sockmap.h"
#include "proxy/io/socket.h"

namespace monopod::proxy {

class Joined {
 public:
  // consumed: what was read of each socket before; all of it has been written to the other. The sockets outlive it. As Sockmap::join().
  struct Consumed {
    std::uint64_t first = 0, second = 0;
  };
  static Result<std::unique_ptr<Joined>> make(Sockmap& map, Socket& first, Socket& second, Consumed consumed, JoinUser& user);

  // kTick: to be asked again after kJoinTickMs.
  enum class Outcome : std::uint8_t { kWaiting, kTick, kEnded, kFailed };
  Outcome step();
  // Bytes since it was joined that reached the other socket.
  std::uint64_t up_bytes() const { return up_.left(); }
  std::uint64_t down_bytes() const { return down_.left(); }

 private:
  struct Way {
    Socket& from;
    Socket& to;
    std::uint64_t consumed = 0;  // of from, before
    std::uint64_t base = 0;      // what had been written to `to` before
    JoinedWay* shared = nullptr;
    std::string held{};          // left to us, on its way; it stands in the socket yet
    std::size_t at = 0;
    bool ended = false;
    std::uint64_t all = 0;       // once it has ended
    std::uint64_t left() const;
    Outcome step();
    Outcome bring_over();
    bool write_held();
    void grant();
  };
  Joined(Socket& first, Socket& second, Consumed consumed) : up_{.from = first, .to = second, .consumed = consumed.first}, down_{.from = second, .to = first, .consumed = consumed.second} {}
  Way up_, down_;
  std::unique_ptr<Join> join_;
};

}  // namespace monopod::proxy
