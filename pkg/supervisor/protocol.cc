#include "supervisor/protocol.h"

namespace monopod::supervisor {

Writer::Writer(MessageType type, std::uint32_t request) { u16(kProtocolVersion).u16(static_cast<std::uint16_t>(type)).u32(request); }

Writer& Writer::number(std::uint64_t v, int bytes) {
  for (int i = 0; i < bytes; ++i) out_->push_back(static_cast<char>(v >> (8 * i)));
  return *this;
}

Writer& Writer::text(std::string_view v) {
  u32(static_cast<std::uint32_t>(v.size()));
  out_->append(v);
  return *this;
}

std::uint64_t Reader::number(std::size_t bytes) {
  if (bytes_.size() < bytes) {
    ok_ = false;
    bytes_ = {};
    return 0;
  }
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < bytes; ++i) out |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes_[i])) << (8 * i);
  bytes_.remove_prefix(bytes);
  return out;
}

std::string Reader::text(std::size_t bytes_max) {
  std::size_t size = u32();
  if (size > bytes_max || size > bytes_.size()) {
    ok_ = false;
    bytes_ = {};
    return {};
  }
  std::string out(bytes_.substr(0, size));
  bytes_.remove_prefix(size);
  return out;
}

Header read_header(Reader& reader) {
  Header out;
  out.version = reader.u16();
  out.type = static_cast<MessageType>(reader.u16());
  out.request = reader.u32();
  return out;
}

void write_spawn(Writer& w, const SpawnMessage& m) {
  w.text(m.id).u64(m.clone_flags).text(m.pid_namespace_of).text(m.pass_pidfd_of);
  w.text(m.stdio.log_path).u8(m.stdio.terminal).u8(m.stdio.stdin_open).u8(m.stdio.stdin_once);
  w.u64(m.stdio.log_bytes_max).u32(static_cast<std::uint32_t>(m.stdio.log_files_max)).u16(m.stdio.columns).u16(m.stdio.rows);
  w.u8(m.has_cgroup).u8(m.has_streams).u8(m.return_terminal).u8(m.hold);
}

SpawnMessage read_spawn(Reader& r) {
  SpawnMessage m;
  m.id = r.text(kIdBytesMax);
  m.clone_flags = r.u64();
  m.pid_namespace_of = r.text(kIdBytesMax);
  m.pass_pidfd_of = r.text(kIdBytesMax);
  m.stdio.log_path = r.text(4096);
  m.stdio.terminal = r.u8() != 0;
  m.stdio.stdin_open = r.u8() != 0;
  m.stdio.stdin_once = r.u8() != 0;
  m.stdio.log_bytes_max = r.u64();
  m.stdio.log_files_max = static_cast<int>(r.u32());
  m.stdio.columns = r.u16();
  m.stdio.rows = r.u16();
  m.has_cgroup = r.u8() != 0;
  m.has_streams = r.u8() != 0;
  m.return_terminal = r.u8() != 0;
  m.hold = r.u8() != 0;
  return m;
}

void write_spawn_owner(Writer& w, const SpawnMessage& m) {
  if (m.has_user_namespace) w.u8(1).u32(m.output_owner).u32(m.output_group);
}

void read_spawn_owner(Reader& r, SpawnMessage& m) {
  if (r.empty()) return;
  m.has_user_namespace = r.u8() != 0;
  m.output_owner = r.u32();
  m.output_group = r.u32();
}

void write_process(Writer& w, const Process& p) {
  w.text(p.id).u32(static_cast<std::uint32_t>(p.pid)).u8(static_cast<std::uint8_t>(p.state));
  w.u32(static_cast<std::uint32_t>(p.exit_code)).u32(static_cast<std::uint32_t>(p.signal));
  w.u64(static_cast<std::uint64_t>(p.started_at.time_since_epoch().count())).u64(static_cast<std::uint64_t>(p.finished_at.time_since_epoch().count()));
}

Process read_process(Reader& r) {
  Process p;
  p.id = r.text(kIdBytesMax);
  p.pid = static_cast<int>(r.u32());
  p.state = static_cast<ProcessState>(std::min<std::uint8_t>(r.u8(), 2));
  p.exit_code = static_cast<int>(r.u32());
  p.signal = static_cast<int>(r.u32());
  p.started_at = WallTime(std::chrono::nanoseconds(static_cast<std::int64_t>(r.u64())));
  p.finished_at = WallTime(std::chrono::nanoseconds(static_cast<std::int64_t>(r.u64())));
  return p;
}

}  // namespace monopod::supervisor
