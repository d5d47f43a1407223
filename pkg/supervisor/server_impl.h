// The supervisor's inside: one poll loop over signals, the node's socket, first stages and the pump. Parts by file:
//   server.cc            the loop, signals, stopping
//   server_node.cc       the node process: start, restart, end
//   server_processes.cc  container processes: spawn, first stage, exit
//   server_requests.cc   what the node asks
//   server_reload.cc     replacing this program by a new one, in place
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "supervisor/handover.h"
#include "supervisor/notify.h"
#include "supervisor/output_pump.h"
#include "supervisor/process_table.h"
#include "supervisor/server.h"
#include "sys/packet_socket.h"

namespace monopod::supervisor {

inline constexpr int kExitUsage = 64;  // sysexits.h: what a restart cannot mend
inline constexpr int kExitData = 65;
inline constexpr int kExitConfig = 78;

class Server {
 public:
  explicit Server(ServerOptions options);
  Result<int> run();

 private:
  // server.cc
  Result<> prepare();
  std::optional<int> turn();
  int timeout_ms() const;
  std::optional<int> on_signals();
  void check_deadlines();
  void stop();
  int finish(int code);
  std::unique_ptr<OutputPump> make_pump();

  // server_node.cc
  void start_node();
  int plan_restart();  // in so many milliseconds
  void disconnect_node();
  std::optional<int> on_node_exit(sys::ExitStatus status);

  // server_processes.cc
  void adopt(Entry& entry);
  Result<> spawn_process(std::uint32_t request, const SpawnMessage& message, std::vector<sys::Fd> fds);
  Result<> make_fifos(const Entry& entry, std::vector<sys::Fd>& child_ends, PumpStreams& pumped);
  Result<int> running_pidfd(const std::string& id);
  bool on_sync(Entry& entry);
  void on_terminal(Entry& entry, sys::Fd terminal);
  void stage_done(Entry& entry, Result<> result);
  void answer_spawn(Entry& entry, Result<> result);
  void on_exit(Entry& entry, sys::ExitStatus status);
  void completed(Entry& entry);
  void on_pumped();

  // server_requests.cc
  void send(std::string bytes, const std::vector<int>& fds = {});
  void flush();
  void reply(std::uint32_t request, const Result<>& result, std::string_view body = {}, const std::vector<int>& fds = {});
  void on_node();
  void on_request(const Header& header, Reader& reader, std::vector<sys::Fd> fds);
  Result<> keep(std::string name, std::vector<sys::Fd> fds);
  void list(std::uint32_t request);

  // server_reload.cc
  void begin_reload();
  void on_checked(sys::ExitStatus status);
  void replace();
  Result<> execute(const Handover& handed);
  void take_over(Handover handed);

  ServerOptions options_;
  RealClock clock_;
  ServiceNotifier notifier_;
  ProcessTable table_;
  sys::Fd executable_;        // the sealed copy, for first stages: what a container reaches by /proc/self/exe cannot be changed
  sys::Fd program_;           // the file itself, for the node: its pages are shared with ours
  std::string program_path_;  // where a newer one is found
  sys::Fd null_;
  sys::Fd signals_;

  sys::Pidfd node_;
  sys::Fd node_socket_;
  std::deque<sys::Packet> outgoing_;
  KeptDescriptors kept_;      // by the node, for the next one
  MonoTime node_started_{};
  int delay_ms_ = 0;          // before the next restart
  std::optional<MonoTime> restart_at_;
  bool was_ready_ = false;    // some node process of this program was
  bool stopping_ = false;
  MonoTime kill_at_{};        // of the node, while stopping or reloading

  bool reloading_ = false;    // the node makes room; then the new program takes over
  sys::Fd next_program_;
  sys::Pidfd check_;          // the new program looking at its options
  MonoTime check_until_{};

  sys::Fd pump_wake_;
  std::mutex pumped_mutex_;         // guards pumped_, filled by the pump's thread
  std::vector<std::string> pumped_;
  std::unique_ptr<OutputPump> pump_;  // last: its thread ends before the rest goes
};

}  // namespace monopod::supervisor
