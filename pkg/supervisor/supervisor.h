// The node's side of the supervisor: the tiny parent process that owns container processes, their stdio and exit statuses, and
// that outlives the node process. See server.h for the parent itself and protocol.h for the wire.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/scope.h"
#include "async/stream.h"
#include "async/time.h"
#include "base/clock.h"
#include "sys/fd.h"

namespace monopod::supervisor {

// Descriptor numbers that the spawned first stage (container::init_main) finds open.
inline constexpr int kSpecFd = 3;   // sealed memfd with the init spec
inline constexpr int kSyncFd = 4;   // packet socket: ready, start, error, terminal
inline constexpr int kFirstPassedFd = 5;

inline constexpr std::size_t kKeptNamesMax = 1024;
inline constexpr std::size_t kKeptFdsMax = 16;  // under one name

struct StdioOptions {
  std::string log_path;            // CRI log file; empty: output is kept from nobody but attached streams
  bool terminal = false;           // stdin, stdout and stderr are one pseudo-terminal
  bool stdin_open = false;         // stdin can be attached; otherwise it reads end of file
  bool stdin_once = false;         // stdin closes when the first attached client goes
  std::uint64_t log_bytes_max = 10U << 20;  // then rotate
  int log_files_max = 5;                    // current one included
  std::uint16_t columns = 80;
  std::uint16_t rows = 24;
};

struct SpawnRequest {
  std::string id;                     // unique among processes not yet forgotten, up to 256 bytes
  std::string spec;                   // bytes handed to the first stage as a sealed memfd
  std::uint64_t clone_flags = 0;      // CLONE_NEW* at birth; CLONE_NEWPID is the usual one
  std::string pid_namespace_of;       // id of a process whose pid namespace to be born into; empty: none
  std::string pass_pidfd_of;          // id of a process whose pidfd to hand over as the first passed descriptor (exec)
  sys::Fd cgroup;                     // for CLONE_INTO_CGROUP; may be empty
  sys::Fd user_namespace;             // to be born into, as root there; may be empty
  std::uint32_t output_owner = 0;     // user and group that the streams belong to: root of that namespace, where there is one
  std::uint32_t output_group = 0;
  std::vector<sys::Fd> fds;           // handed over from kFirstPassedFd on, after the pidfd if any
  StdioOptions stdio;
  std::vector<sys::Fd> streams;       // three: stdin, stdout, stderr of the process, instead of log and attach (exec without terminal)
  bool return_terminal = false;       // exec with terminal: the master side is returned instead of being logged
  bool hold = false;                  // set up, then wait for start()
};

struct SpawnResult {
  int pid = -1;
  sys::Fd terminal;  // with return_terminal
};

enum class ProcessState { kCreated, kRunning, kExited };

struct Process {
  std::string id;
  int pid = -1;
  ProcessState state = ProcessState::kCreated;
  int exit_code = 0;        // 128 + signal where a signal ended it; -1: unknown (the supervisor itself was lost)
  int signal = 0;
  WallTime started_at{};
  WallTime finished_at{};
};

struct AttachOptions {
  std::string id;
  bool stdin_ = false;
  bool stdout_ = true;
  bool stderr_ = true;  // nothing comes where the process has a terminal
};
struct AttachedStreams {
  sys::Fd stdin_;   // write end; empty where not asked for
  sys::Fd stdout_;  // read ends
  sys::Fd stderr_;
};

// One connection. Every call fails with kUnavailable once the supervisor is gone. Not thread-safe: one loop.
class Supervisor {
 public:
  // socket: the node's end, from inherited_socket(). on_terminate is called when the supervisor wants the node to stop its pods and exit.
  Supervisor(async::Executor executor, sys::Fd socket);
  virtual ~Supervisor();

  // Says hello (protocol version) and serves answers until cancelled or the supervisor goes away. Spawn it into the owner's scope
  // before any other call.
  async::Task<Result<>> run();

  // Answers once the first stage has set everything up (hold) or has been replaced by the program. The error is the first stage's own
  // text, its code by meaning: kNotFound (127), kPermissionDenied (126), else kInternal (128).
  async::Task<Result<SpawnResult>> spawn(SpawnRequest request);
  async::Task<Result<WallTime>> start(std::string id);  // when it began to run, as list() has it
  async::Task<Result<>> signal(std::string id, int signal);
  async::Task<Result<std::vector<Process>>> list();
  async::Task<Result<AttachedStreams>> attach(AttachOptions options);
  async::Task<Result<>> resize(std::string id, std::uint16_t columns, std::uint16_t rows);
  async::Task<Result<>> reopen_log(std::string id);
  // Drops the record of an exited process. Absent is no error; kFailedPrecondition while it runs.
  async::Task<Result<>> forget(std::string id);

  // Descriptors that the next node process goes on with (listening sockets: who connects in between waits). They are kept under a name, in place of what was
  // under it, through the end of this process and through reloads, until drop(). kInvalidArgument, kResourceExhausted past the limits above;
  // kUnimplemented from an older supervisor.
  async::Task<Result<>> keep(std::string name, std::vector<sys::Fd> fds);
  async::Task<Result<std::vector<sys::Fd>>> kept(std::string name);  // copies, in order; none where there is no such name
  async::Task<Result<>> drop(std::string name);                      // absent is no error

  // Called on the loop for each exit after the process's output has been written to its log. Set before run().
  void on_exit(std::function<void(const Process&)> callback);
  void on_terminate(std::function<void()> callback);
  // The supervisor wants this process to make room for the next one (reload, upgrade): close the store and exit, touch no pod.
  void on_detach(std::function<void()> callback);

  // Tells the service manager, through the supervisor: started and ready; alive (call from the loop, at least every few seconds).
  async::Task<Result<>> notify_ready(std::string status);
  async::Task<Result<>> notify_alive();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The node's end of the socket pair, where this process was started by a supervisor (MONOPOD_SUPERVISOR_FD, removed from the environment).
std::optional<sys::Fd> inherited_socket();

}  // namespace monopod::supervisor
