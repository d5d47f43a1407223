// What the node asks, and what it is told.
#include <fcntl.h>

#include <cerrno>

#include "base/strings.h"
#include "supervisor/init_protocol.h"
#include "supervisor/server_impl.h"
#include "sys/text_pages.h"

namespace monopod::supervisor {
namespace {

constexpr std::size_t kListPartBytesMax = 32 << 10;

}  // namespace

void Server::send(std::string bytes, const std::vector<int>& fds) {
  if (!node_socket_) return;
  sys::Packet packet{std::move(bytes), {}};
  for (int fd : fds) {
    int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy >= 0) packet.fds.emplace_back(copy);
  }
  outgoing_.push_back(std::move(packet));
  flush();
}

void Server::flush() {
  while (node_socket_ && !outgoing_.empty()) {
    std::vector<int> numbers;
    for (const sys::Fd& fd : outgoing_.front().fds) numbers.push_back(fd.get());
    Result<> sent = sys::send_packet(node_socket_.get(), outgoing_.front().bytes, numbers);
    if (!sent && (sent.error().os_errno() == EAGAIN || sent.error().os_errno() == EWOULDBLOCK)) return;
    if (!sent) {
      disconnect_node();
      return;
    }
    outgoing_.pop_front();
  }
}

void Server::reply(std::uint32_t request, const Result<>& result, std::string_view body, const std::vector<int>& fds) {
  Writer writer(MessageType::kReply, request);
  writer.u16(static_cast<std::uint16_t>(result ? Code::kOk : result.error().code()));
  writer.text(result ? std::string_view() : std::string_view(result.error().message()).substr(0, kErrorBytesMax)).text(body);
  send(writer.take(), fds);
}

void Server::on_node() {
  flush();
  while (node_socket_) {
    Result<sys::Packet> packet = sys::receive_packet(node_socket_.get());
    if (!packet && (packet.error().os_errno() == EAGAIN || packet.error().os_errno() == EWOULDBLOCK)) return;
    if (!packet || packet->bytes.empty()) {
      disconnect_node();  // its exit comes by SIGCHLD
      return;
    }
    Reader reader(packet->bytes);
    Header header = read_header(reader);
    if (!reader.ok()) continue;
    on_request(header, reader, std::move(packet->fds));
  }
}

void Server::on_request(const Header& header, Reader& reader, std::vector<sys::Fd> fds) {
  auto checked = [&](Result<> result) { reply(header.request, reader.ok() ? result : fail(Code::kInvalidArgument, "message is too short")); };
  switch (header.type) {
    case MessageType::kHello: {
      std::uint16_t newest = reader.u16();
      std::uint16_t oldest = reader.u16();
      if (oldest > kProtocolVersion || newest < kProtocolVersionMin)
        return reply(header.request, fail(Code::kUnimplemented, cat("supervisor speaks protocol ", kProtocolVersion, ", the node ", oldest, " to ", newest)));
      return reply(header.request, {});
    }
    case MessageType::kSpawn: {
      SpawnMessage message = read_spawn(reader);
      read_spawn_owner(reader, message);
      if (!reader.ok()) return checked({});
      Result<> spawned = spawn_process(header.request, message, std::move(fds));
      if (!spawned) reply(header.request, spawned);
      return;  // answered when the first stage is done
    }
    case MessageType::kStart: {
      Entry* entry = table_.find(reader.text(kIdBytesMax));
      if (entry == nullptr) return checked(fail(Code::kNotFound, "no such process"));
      if (!entry->sync || !entry->ready || entry->waiting) return checked(fail(Code::kFailedPrecondition, "process does not wait for start"));
      entry->waiting = header.request;
      Result<> sent = sys::send_packet(entry->sync.get(), std::string_view(&kSyncStart, 1));
      if (!sent) {
        entry->waiting.reset();
        checked(sent);
      }
      return;
    }
    case MessageType::kSignal: {
      Entry* entry = table_.find(reader.text(kIdBytesMax));
      int signal = static_cast<int>(reader.u32());
      if (entry == nullptr) return checked(fail(Code::kNotFound, "no such process"));
      if (entry->process.state == ProcessState::kExited) return checked(fail(Code::kFailedPrecondition, "process has ended"));
      return checked(entry->pidfd.send_signal(signal));
    }
    case MessageType::kList:
      return list(header.request);
    case MessageType::kAttach: {
      std::string id = reader.text(kIdBytesMax);
      bool wants[3] = {reader.u8() != 0, reader.u8() != 0, reader.u8() != 0};
      Entry* entry = table_.find(id);
      if (entry == nullptr) return checked(fail(Code::kNotFound, "no such process"));
      if (entry->process.state == ProcessState::kExited || !entry->has_output)
        return checked(fail(Code::kFailedPrecondition, "process has no output to attach to"));
      sys::Fd ends[3];
      std::size_t next = 0;
      for (std::size_t i = 0; i < 3; ++i) {
        if (!wants[i]) continue;
        if (next >= fds.size()) return checked(fail(Code::kInvalidArgument, "descriptors are missing"));
        ends[i] = std::move(fds[next++]);
      }
      pump_->attach(id, std::move(ends[0]), std::move(ends[1]), std::move(ends[2]));
      return checked({});
    }
    case MessageType::kResize: {
      std::string id = reader.text(kIdBytesMax);
      std::uint16_t columns = reader.u16();
      std::uint16_t rows = reader.u16();
      return checked(pump_->resize(id, columns, rows));
    }
    case MessageType::kReopenLog: {
      std::string id = reader.text(kIdBytesMax);
      Entry* entry = table_.find(id);
      if (entry == nullptr || !entry->has_output || entry->stdio.log_path.empty()) return checked({});
      return checked(pump_->reopen_log(id, entry->stdio));
    }
    case MessageType::kForget: {
      Entry* entry = table_.find(reader.text(kIdBytesMax));
      if (entry == nullptr) return checked({});
      if (entry->failed && !entry->forgetting) {
        entry->forgetting = header.request;
        return;
      }
      if (entry->process.state != ProcessState::kExited) return checked(fail(Code::kFailedPrecondition, "process still runs"));
      table_.erase(std::string(entry->process.id));
      return checked({});
    }
    case MessageType::kKeep: {
      std::string name = reader.text(kIdBytesMax);
      return checked(keep(std::move(name), std::move(fds)));
    }
    case MessageType::kKept: {
      auto found = kept_.find(reader.text(kIdBytesMax));
      std::vector<int> numbers;
      if (found != kept_.end())
        for (const sys::Fd& fd : found->second) numbers.push_back(fd.get());
      return reply(header.request, {}, {}, numbers);
    }
    case MessageType::kDrop:
      kept_.erase(reader.text(kIdBytesMax));
      return checked({});
    case MessageType::kNotifyReady:
      was_ready_ = true;
      delay_ms_ = 0;  // it works: should it die now, the next one starts at once
      notifier_.send(cat("READY=1\nSTATUS=", reader.text(1024)));
      sys::forget_program_pages();
      return checked({});
    case MessageType::kNotifyAlive:
      notifier_.send("WATCHDOG=1");
      return checked({});
    default:
      return reply(header.request, fail(Code::kUnimplemented, cat("message type ", static_cast<int>(header.type))));
  }
}

Result<> Server::keep(std::string name, std::vector<sys::Fd> fds) {
  if (name.empty() || fds.empty() || fds.size() > kKeptFdsMax) return fail(Code::kInvalidArgument, cat("keep ", fds.size(), " descriptors as \"", name, "\": want a name and 1 to ", kKeptFdsMax));
  if (!kept_.contains(name) && kept_.size() >= kKeptNamesMax) return fail(Code::kResourceExhausted, cat("descriptors are kept under ", kKeptNamesMax, " names already"));
  kept_.insert_or_assign(std::move(name), std::move(fds));
  return {};
}

void Server::list(std::uint32_t request) {
  Writer writer(MessageType::kListPart, request);
  std::string part = writer.take();
  std::size_t empty = part.size();
  for (auto& [id, entry] : table_.all()) {
    if (entry.failed) continue;
    Writer more(part);
    write_process(more, entry.process);
    if (part.size() > kListPartBytesMax) {
      send(part);
      part.resize(empty);
    }
  }
  if (part.size() > empty) send(part);
  reply(request, {});
}

}  // namespace monopod::supervisor
