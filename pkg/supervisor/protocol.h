// Wire format between node and supervisor: one SOCK_SEQPACKET packet per message, little-endian, strings as u32 length and bytes.
//
//   +---------+------+---------+----------------+
//   | version | type | request | body by type   |      request 0: an event
//   |   u16   | u16  |   u32   |                |
//   +---------+------+---------+----------------+
//
// Version N talks to N-1: fields are only ever added at the end of a body, and a reader ignores what follows what it knows.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/supervisor.h"

namespace monopod::supervisor {

inline constexpr std::uint16_t kProtocolVersion = 1;
inline constexpr std::uint16_t kProtocolVersionMin = 1;
inline constexpr std::size_t kIdBytesMax = 256;
inline constexpr std::size_t kErrorBytesMax = 4096;

enum class MessageType : std::uint16_t {
  kHello = 1,
  kSpawn = 2,
  kStart = 3,
  kSignal = 4,
  kList = 5,
  kAttach = 6,
  kResize = 7,
  kReopenLog = 8,
  kForget = 9,
  kNotifyReady = 10,
  kNotifyAlive = 11,
  kKeep = 12,
  kKept = 13,
  kDrop = 14,
  kReply = 100,
  kExit = 101,
  kTerminate = 102,
  kListPart = 103,
  kDetach = 104,  // end, but leave the pods as they are: another node process follows at once
};

class Writer {
 public:
  Writer(MessageType type, std::uint32_t request);
  explicit Writer(std::string& into) : out_(&into) {}
  Writer& u8(std::uint8_t v) { return number(v, 1); }
  Writer& u16(std::uint16_t v) { return number(v, 2); }
  Writer& u32(std::uint32_t v) { return number(v, 4); }
  Writer& u64(std::uint64_t v) { return number(v, 8); }
  Writer& text(std::string_view v);
  std::string take() { return std::move(own_); }

 private:
  Writer& number(std::uint64_t v, int bytes);
  std::string own_;
  std::string* out_ = &own_;
};

// Reads past the end give zeros and clear ok().
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  std::uint8_t u8() { return static_cast<std::uint8_t>(number(1)); }
  std::uint16_t u16() { return static_cast<std::uint16_t>(number(2)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() { return number(8); }
  std::string text(std::size_t bytes_max = 1 << 16);
  bool ok() const { return ok_; }
  bool empty() const { return bytes_.empty(); }

 private:
  std::uint64_t number(std::size_t bytes);
  std::string_view bytes_;
  bool ok_ = true;
};

struct Header {
  std::uint16_t version = 0;
  MessageType type = MessageType::kReply;
  std::uint32_t request = 0;
};
Header read_header(Reader& reader);

// A spawn request less its descriptors, which travel with the packet: spec, [cgroup], [3 streams], rest, [user namespace].
struct SpawnMessage {
  std::string id;
  std::uint64_t clone_flags = 0;
  std::string pid_namespace_of;
  std::string pass_pidfd_of;
  StdioOptions stdio;
  bool has_cgroup = false;
  bool has_streams = false;
  bool return_terminal = false;
  bool hold = false;
  bool has_user_namespace = false;
  std::uint32_t output_owner = 0;
  std::uint32_t output_group = 0;
};
void write_spawn(Writer& writer, const SpawnMessage& message);
SpawnMessage read_spawn(Reader& reader);
// What follows in a request, and is kept nowhere. A supervisor that does not know it spawns without; the first stage notices.
void write_spawn_owner(Writer& writer, const SpawnMessage& message);
void read_spawn_owner(Reader& reader, SpawnMessage& message);

void write_process(Writer& writer, const Process& process);
Process read_process(Reader& reader);

}  // namespace monopod::supervisor
