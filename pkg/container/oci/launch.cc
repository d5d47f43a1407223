#include "container/oci/launch.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/failpoint.h"
#include "base/strings.h"
#include "supervisor/init_protocol.h"
#include "supervisor/supervisor.h"
#include "sys/packet_socket.h"
#include "sys/root.h"

namespace monopod::container::oci {
namespace {

constexpr std::size_t kWordBytesMax = 8192;

Error stage_error(std::string_view bytes) {
  int code = bytes.size() > 1 ? static_cast<unsigned char>(bytes[1]) : 128;
  std::string text(bytes.substr(std::min<std::size_t>(2, bytes.size())));
  return Error(code == 127 ? Code::kNotFound : code == 126 ? Code::kPermissionDenied : Code::kInternal, std::move(text));
}

Result<sys::Packet> next_word(int channel) {
  TRY_ASSIGN(sys::Packet packet, sys::receive_packet(channel, kWordBytesMax));
  if (!packet.bytes.empty() && packet.bytes[0] == supervisor::kSyncError) return fail(stage_error(packet.bytes));
  return packet;
}

Result<> say(int channel, char word) { return sys::send_packet(channel, std::string_view(&word, 1)); }

// One list of numbers from kFirstPassedFd on; the spec says what is where.
std::vector<int> list_descriptors(InitSpec& spec, const LaunchOptions& options) {
  std::vector<int> out;
  auto next = [&] { return supervisor::kFirstPassedFd + static_cast<int>(out.size()); };
  if (options.target >= 0) out.push_back(options.target);
  spec.procs_fds = static_cast<int>(options.procs.size());
  for (const sys::Fd& fd : options.procs) out.push_back(fd.get());
  auto mount = options.mounts.begin();
  for (Mount& one : spec.config.mounts) {
    if (one.source_fd < 0 || mount == options.mounts.end()) continue;
    one.source_fd = next();
    out.push_back((mount++)->get());
  }
  if (options.root) {
    spec.root_fd = next();
    out.push_back(options.root.get());
  }
  if (options.listener) {
    spec.listen_fd = next();
    out.push_back(options.listener.get());
  }
  spec.preserve_first = next();
  spec.preserve_count = options.preserve_fds;
  for (int i = 0; i < options.preserve_fds; ++i) out.push_back(3 + i);
  return out;
}

// Root, where a namespace has one.
std::uint32_t first_id(const std::vector<sys::IdMap>& maps) {
  bool root = maps.empty() || std::ranges::any_of(maps, [](const sys::IdMap& map) { return map.inside == 0; });
  return root ? 0 : maps.front().inside;
}

}  // namespace

Result<FirstStage> FirstStage::launch(InitSpec spec, LaunchOptions options, const LaunchEvents& events) {
  TRY_ASSIGN(sys::SocketPair sync, sys::make_packet_pair());
  std::vector<int> passed = list_descriptors(spec, options);
  TRY_ASSIGN(sys::Fd text, sys::sealed_memfd("spec", format_init_spec(spec)));
  TRY_ASSIGN(sys::Fd executable, sys::protected_self_executable());
  sys::SpawnOptions spawn;
  spawn.executable = executable.get();
  spawn.argv = {"monopod", "init"};
  spawn.fds = {0, 1, 2, text.get(), sync.second.get()};
  spawn.fds.insert(spawn.fds.end(), passed.begin(), passed.end());
  if (options.new_pid_namespace) spawn.clone_flags |= CLONE_NEWPID;
  if (options.new_user_namespace) spawn.clone_flags |= CLONE_NEWUSER;
  spawn.cgroup_fd = options.cgroup.get();
  spawn.pid_namespace_fd = options.pid_namespace;
  spawn.user_namespace_fd = options.user_namespace;
  for (const sys::Fd& fd : options.namespaces) spawn.namespace_fds.push_back(fd.get());
  spawn.become_root = options.new_user_namespace || options.user_namespace >= 0;
  spawn.become_uid = first_id(spec.config.uid_mappings);
  spawn.become_gid = first_id(spec.config.gid_mappings);
  spawn.set_groups = spec.setgroups;
  if (options.new_user_namespace || options.on_born) {
    spawn.before_exec = [&](const sys::Pidfd& child) -> Result<> {
      if (options.on_born) TRY(options.on_born(child));
      if (!options.new_user_namespace) return {};
      TRY(sys::write_id_maps(child.pid(), options.uid_maps, options.gid_maps));
      // What it may no longer do from inside.
      if (auto score = spec.config.process.oom_score_adj) (void)sys::write_host_file(cat("/proc/", child.pid(), "/oom_score_adj"), cat(*score));
      return {};
    };
  }
  TRY_ASSIGN(sys::Pidfd process, sys::spawn(spawn));
  FirstStage out(std::move(process), std::move(sync.first));
  sync.second.reset();
  for (sys::Fd* fd : {&text, &executable, &options.listener, &options.cgroup}) out.passed_.push_back(std::move(*fd));
  options.procs.clear();
  options.mounts.clear();
  options.namespaces.clear();
  options.root.reset();
  Result<> led = failpoint("runtime.after_spawn");
  if (led) led = out.lead(options, events);
  if (!led) {
    out.end();
    return fail(std::move(led).error());
  }
  return out;
}

Result<> FirstStage::lead(const LaunchOptions& options, const LaunchEvents& events) {
  for (;;) {
    TRY_ASSIGN(sys::Packet packet, next_word(channel()));
    if (packet.bytes.empty()) return fail(Code::kInternal, "the first stage ended unexpectedly");
    switch (packet.bytes[0]) {
      case supervisor::kSyncHooks:
        TRY(events.on_hooks(process_));
        break;
      case supervisor::kSyncTerminal: {
        if (packet.fds.empty()) return fail(Code::kInternal, "the terminal is lost");
        if (options.console_socket.empty()) TRY(events.on_terminal(std::move(packet.fds[0])));
        else TRY(send_descriptor(options.console_socket, "/dev/pts/ptmx", packet.fds[0].get()));
        continue;
      }
      case supervisor::kSyncReady:
        TRY(events.on_ready(process_));
        return say(channel(), supervisor::kSyncGo);
      default:
        continue;
    }
    TRY(say(channel(), supervisor::kSyncGo));
  }
}

void FirstStage::end() {
  (void)process_.send_signal(SIGKILL);
  (void)process_.reap();
}

Result<> follow_to_exec(int channel, const std::function<Result<>(sys::Fd)>& on_listener) {
  bool about_to = false;
  for (;;) {
    Result<sys::Packet> packet = next_word(channel);
    // A program that dies at once may leave a reset instead of an end.
    if (!packet && packet.error().os_errno() == ECONNRESET) return about_to ? Result<>() : fail(Code::kInternal, "the first stage ended unexpectedly");
    if (!packet) return fail(std::move(packet).error());
    if (packet->bytes.empty()) return about_to ? Result<>() : fail(Code::kInternal, "the first stage ended unexpectedly");
    if (packet->bytes[0] == supervisor::kSyncExec) about_to = true;
    if (packet->bytes[0] == supervisor::kSyncListener && !packet->fds.empty()) TRY(on_listener(std::move(packet->fds[0])));
  }
}

Result<> send_descriptor(const std::string& path, std::string_view name, int fd) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(Code::kInvalidArgument, cat("socket path ", path, " is too long"));
  std::memcpy(address.sun_path, path.data(), path.size());
  sys::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("make socket");
  if (::connect(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) < 0) return fail_errno(cat("connect to ", path));
  return sys::send_packet(socket.get(), name, {fd});
}

}  // namespace monopod::container::oci
