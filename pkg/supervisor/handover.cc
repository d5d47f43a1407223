#include "supervisor/handover.h"

#include <fcntl.h>

#include <cstdlib>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::supervisor {
namespace {

constexpr std::uint16_t kHandoverVersion = 1;
constexpr std::size_t kPendingBytesMax = 1U << 20;
constexpr std::uint32_t kNoDescriptor = ~0U;

std::vector<const sys::Fd*> descriptors(const HandedProcess& p) {
  return {&p.entry.sync, &p.entry.terminal, &p.streams.stdin_, &p.streams.stdout_, &p.streams.stderr_, &p.streams.terminal};
}

Result<> set_close_on_exec(const sys::Fd& fd, int flag) {
  if (fd && ::fcntl(fd.get(), F_SETFD, flag) < 0) return fail_errno("hand over a descriptor");
  return {};
}

void write_one(Writer& w, const HandedProcess& p) {
  const Entry& e = p.entry;
  write_process(w, e.process);
  SpawnMessage message;
  message.id = e.process.id;
  message.stdio = e.stdio;
  message.hold = e.hold;
  message.return_terminal = e.return_terminal;
  write_spawn(w, message);
  w.u64(e.number).u8(e.has_output).u8(e.of_one_node).u8(e.adopted).u8(e.ready).u8(e.about_to_exec).u8(e.failed);
  for (const sys::Fd* fd : descriptors(p)) w.u32(*fd ? static_cast<std::uint32_t>(fd->get()) : kNoDescriptor);
  w.text(p.streams.stdout_rest).text(p.streams.stderr_rest).text(p.streams.input_pending);
}

HandedProcess read_one(Reader& r) {
  HandedProcess p;
  Entry& e = p.entry;
  e.process = read_process(r);
  SpawnMessage message = read_spawn(r);
  e.stdio = message.stdio;
  e.hold = message.hold;
  e.return_terminal = message.return_terminal;
  e.number = r.u64();
  e.has_output = r.u8() != 0;
  e.of_one_node = r.u8() != 0;
  e.adopted = r.u8() != 0;
  e.ready = r.u8() != 0;
  e.about_to_exec = r.u8() != 0;
  e.failed = r.u8() != 0;
  for (sys::Fd* fd : {&e.sync, &e.terminal, &p.streams.stdin_, &p.streams.stdout_, &p.streams.stderr_, &p.streams.terminal}) {
    std::uint32_t number = r.u32();
    if (r.ok() && number != kNoDescriptor) *fd = sys::Fd(static_cast<int>(number));
  }
  p.streams.stdout_rest = r.text(kPendingBytesMax);
  p.streams.stderr_rest = r.text(kPendingBytesMax);
  p.streams.input_pending = r.text(kPendingBytesMax);
  return p;
}

void write_kept(Writer& w, const KeptDescriptors& kept) {
  w.u32(static_cast<std::uint32_t>(kept.size()));
  for (const auto& [name, fds] : kept) {
    w.text(name).u8(static_cast<std::uint8_t>(fds.size()));
    for (const sys::Fd& fd : fds) w.u32(static_cast<std::uint32_t>(fd.get()));
  }
}

KeptDescriptors read_kept(Reader& r) {
  KeptDescriptors kept;
  for (std::uint32_t left = r.u32(); left > 0 && r.ok(); --left) {
    std::vector<sys::Fd>& fds = kept[r.text(kIdBytesMax)];
    for (int more = r.u8(); more > 0; --more) {
      std::uint32_t number = r.u32();
      if (r.ok()) fds.emplace_back(static_cast<int>(number));
    }
  }
  return kept;
}

Result<> set_close_on_exec(const Handover& handover, int flag) {
  for (const HandedProcess& p : handover.processes)
    for (const sys::Fd* fd : descriptors(p)) TRY(set_close_on_exec(*fd, flag));
  for (const auto& [name, fds] : handover.kept)
    for (const sys::Fd& fd : fds) TRY(set_close_on_exec(fd, flag));
  return {};
}

}  // namespace

Result<sys::Fd> write_handover(const Handover& handover) {
  TRY(set_close_on_exec(handover, 0));
  std::string bytes;
  Writer writer(bytes);
  writer.u16(kHandoverVersion).u32(static_cast<std::uint32_t>(handover.processes.size()));
  for (const HandedProcess& p : handover.processes) write_one(writer, p);
  write_kept(writer, handover.kept);
  TRY_ASSIGN(sys::Fd file, sys::sealed_memfd("monopod-handover", bytes));
  TRY(set_close_on_exec(file, 0));
  return file;
}

void retract_handover(const Handover& handover) { (void)set_close_on_exec(handover, FD_CLOEXEC); }

Result<Handover> read_handover(sys::Fd file) {
  TRY_ASSIGN(std::string bytes, sys::read_all(file.get(), 256U << 20));
  Reader reader(bytes);
  if (std::uint16_t version = reader.u16(); version != kHandoverVersion) return fail(Code::kUnimplemented, cat("handover of version ", version, " cannot be read"));
  std::uint32_t count = reader.u32();
  Handover out;
  for (std::uint32_t i = 0; i < count; ++i) {
    HandedProcess p = read_one(reader);
    if (!reader.ok() || p.entry.process.id.empty()) return fail(Code::kDataLoss, "handover is damaged");
    out.processes.push_back(std::move(p));
  }
  if (!reader.empty()) out.kept = read_kept(reader);
  if (!reader.ok()) return fail(Code::kDataLoss, "handover is damaged");
  TRY(set_close_on_exec(out, FD_CLOEXEC));
  return out;
}

std::optional<sys::Fd> inherited_handover() {
  const char* text = ::getenv(kHandoverVariable);
  if (text == nullptr) return std::nullopt;
  auto number = parse_int<int>(text);
  ::unsetenv(kHandoverVariable);
  if (!number || *number < 3 || ::fcntl(*number, F_SETFD, FD_CLOEXEC) < 0) return std::nullopt;
  return sys::Fd(*number);
}

}  // namespace monopod::supervisor
