#include "supervisor/process_table.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"
#include "base/strings.h"
#include "sys/root.h"

namespace monopod::supervisor {
namespace {

constexpr std::uint16_t kRecordVersion = 1;
constexpr std::size_t kRecordBytesMax = 64 << 10;

}  // namespace

std::string ProcessTable::path(const Entry& entry, const char* suffix) const { return cat(directory_, "/", entry.number, suffix); }

Result<> ProcessTable::load() {
  for (std::size_t at = 1; at != std::string::npos && at < directory_.size();) {
    at = directory_.find('/', at + 1);
    if (::mkdir(directory_.substr(0, at).c_str(), at == std::string::npos ? 0700 : 0755) < 0 && errno != EEXIST)
      return fail_errno(cat("make directory ", directory_));
  }
  if (::chmod(directory_.c_str(), 0700) < 0) return fail_errno(cat("close directory ", directory_));
  TRY_ASSIGN(sys::Root root, sys::Root::open(directory_));
  TRY_ASSIGN(std::vector<sys::DirEntry> files, root.read_directory(""));
  for (const sys::DirEntry& file : files) {
    if (!file.name.ends_with(".rec")) continue;
    auto number = parse_int<std::uint64_t>(std::string_view(file.name).substr(0, file.name.size() - 4));
    Result<std::string> bytes = root.read_file(file.name, kRecordBytesMax);
    if (!number || !bytes) continue;
    Reader reader(*bytes);
    if (reader.u16() != kRecordVersion) continue;
    Entry entry;
    entry.number = *number;
    next_number_ = std::max(next_number_, *number + 1);
    std::uint64_t ticks = reader.u64();
    entry.process = read_process(reader);
    SpawnMessage message = read_spawn(reader);
    if (!reader.ok() || entry.process.id.empty()) continue;
    entry.stdio = message.stdio;
    // After a handover that could not be read it may still be our child, and its exit code is ours to have.
    entry.adopted = sys::process_parent(entry.process.pid).value_or(0) != ::getpid();
    if (entry.process.state != ProcessState::kExited) {
      Result<sys::Pidfd> pidfd = sys::Pidfd::open(entry.process.pid);
      Result<std::uint64_t> now = sys::process_start_ticks(entry.process.pid);
      if (pidfd && now && *now == ticks && entry.process.state == ProcessState::kRunning) {
        entry.pidfd = std::move(*pidfd);
      } else {
        // A first stage that still waited for start has lost its socket and ended.
        entry.process.state = ProcessState::kExited;
        entry.process.exit_code = -1;
        entry.process.finished_at = RealClock().wall();
      }
    }
    std::string id = entry.process.id;
    entries_.insert_or_assign(id, std::move(entry));
  }
  return {};
}

void ProcessTable::save(const Entry& entry) const {
  std::string bytes;
  Writer writer(bytes);
  writer.u16(kRecordVersion).u64(sys::process_start_ticks(entry.process.pid).value_or(0));
  write_process(writer, entry.process);
  SpawnMessage message;
  message.id = entry.process.id;
  message.stdio = entry.stdio;
  write_spawn(writer, message);
  Result<> done = [&]() -> Result<> {
    TRY_ASSIGN(sys::Root root, sys::Root::open(directory_));
    std::string name = cat(entry.number, ".rec");
    TRY(root.write_file(name + ".new", bytes, 0600));
    return root.rename(name + ".new", name);
  }();
  if (!done) log::warn("a process record cannot be written", {{"process", entry.process.id}, {"error", done.error()}});
}

void ProcessTable::erase(const std::string& id) {
  auto it = entries_.find(id);
  if (it == entries_.end()) return;
  for (const char* suffix : {".rec", ".in", ".out", ".err"}) ::unlink(path(it->second, suffix).c_str());
  entries_.erase(it);
}

Entry* ProcessTable::find(const std::string& id) {
  auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second;
}

Entry* ProcessTable::find_pid(int pid) {
  for (auto& [id, entry] : entries_) {
    if (entry.process.pid == pid && entry.process.state != ProcessState::kExited && !entry.adopted) return &entry;
  }
  return nullptr;
}

Entry& ProcessTable::add(Entry entry) {
  if (entry.number == 0) entry.number = next_number_++;
  std::string id = entry.process.id;
  return entries_.insert_or_assign(id, std::move(entry)).first->second;
}

}  // namespace monopod::supervisor
