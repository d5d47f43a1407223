// Containers over the supervisor: create, start, kill, exec, stats, remove. What exists is remembered in the StateStore and matched with
// the supervisor's list by open(), so a node process that died and came back finds its containers, and the exit statuses it missed.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/pool.h"
#include "async/state_store.h"
#include "async/stream.h"
#include "container/config.h"
#include "supervisor/supervisor.h"
#include "sys/cgroup.h"

namespace monopod::container {

enum class Status { kCreating, kCreated, kRunning, kStopped };
std::string_view format_status(Status status);  // OCI: creating, created, running, stopped

struct ContainerState {
  std::string id;
  Status status = Status::kCreating;
  int pid = -1;                  // 0 once stopped
  int exit_code = 0;             // once stopped; 128+signal; -1 unknown
  int signal = 0;
  bool oom_killed = false;
  WallTime created_at{};
  WallTime started_at{};
  WallTime finished_at{};
  std::string cgroup_path;
  std::string log_path;
  std::map<std::string, std::string> annotations;
};

struct ExecOptions {
  std::vector<std::string> args;
  std::vector<std::string> env;       // added to the container's own (later wins)
  std::string cwd;                    // empty: the container's
  std::string username;               // empty: the container's user
  bool terminal = false;
  bool stdin_open = false;            // otherwise stdin reads end of file
  bool privileged = false;            // all capabilities
  std::uint16_t columns = 80;
  std::uint16_t rows = 24;
};

struct ExecResult {
  int exit_code = 0;
  int signal = 0;
};

// A process running in a container. Closing the streams does not end it; it ends with the container.
class ExecSession {
 public:
  virtual ~ExecSession() = default;
  virtual async::Stream* stdin_stream() = 0;   // null unless stdin_open; with a terminal the same as stdout_stream()
  virtual async::Stream* stdout_stream() = 0;
  virtual async::Stream* stderr_stream() = 0;  // null with a terminal
  virtual async::Task<Result<>> resize(std::uint16_t columns, std::uint16_t rows) = 0;
  virtual async::Task<Result<>> signal(int signal) = 0;
  virtual async::Task<Result<ExecResult>> wait() = 0;
  virtual int pid() const = 0;  // of the process, as this host counts
};

struct AttachedStreams {
  std::unique_ptr<async::Stream> stdin_stream;   // null where not asked for or not open
  std::unique_ptr<async::Stream> stdout_stream;
  std::unique_ptr<async::Stream> stderr_stream;  // null with a terminal
};

struct ContainerStats {
  sys::CgroupStats cgroup;
  WallTime at{};
};

struct ExecSyncOutput {
  std::string stdout_text;
  std::string stderr_text;
  int exit_code = 0;
};

// Not thread-safe: one loop. Errors: kNotFound for an unknown id, kFailedPrecondition for a wrong state; the first stage's own text where a
// container cannot start ("exec /bin/x: no such file or directory", kNotFound 127, kPermissionDenied 126, else kInternal 128).
class Runtime {
 public:
  struct Options {
    std::string run_dir = "/run/monopod/containers";  // small per-container files; 0700
    std::size_t containers_max = 1000;
  };
  Runtime(async::Executor executor, async::Time& time, async::Pool& pool, async::StateStore& state, supervisor::Supervisor& supervisor, sys::Cgroups& cgroups,
          Options options);
  ~Runtime();

  // Loads what is remembered and matches it with the supervisor's list. Call once, after Supervisor::run is spawned.
  async::Task<Result<>> open();

  // Makes the cgroup and the process, everything set up, program not yet running. On error nothing is left.
  async::Task<Result<>> create(std::string id, ContainerConfig config, supervisor::StdioOptions stdio);
  async::Task<Result<>> start(std::string id);
  // To PID 1; or with all, SIGKILL-like to every process of the group.
  async::Task<Result<>> kill(std::string id, int signal);
  // stop: signal, wait up to grace, then SIGKILL. Returns when it is stopped.
  async::Task<Result<>> stop(std::string id, int signal, Duration grace);
  // Kills what runs, removes the group and forgets. Idempotent: absent is no error. The log stays (its owner removes it).
  async::Task<Result<>> remove(std::string id);
  // The state once stopped. forever: the container decides; bound it with with_timeout.
  async::Task<Result<ContainerState>> wait(std::string id);

  async::Task<Result<std::unique_ptr<ExecSession>>> exec(std::string id, ExecOptions options);
  // To the end, output capped at bytes_max each (then cut), killed at the deadline (kDeadlineExceeded).
  async::Task<Result<ExecSyncOutput>> exec_sync(std::string id, ExecOptions options, Duration timeout, std::size_t bytes_max = 16U << 20);
  async::Task<Result<AttachedStreams>> attach(std::string id, bool stdin_, bool stdout_, bool stderr_);
  async::Task<Result<>> resize(std::string id, std::uint16_t columns, std::uint16_t rows);
  async::Task<Result<>> reopen_log(std::string id);
  async::Task<Result<>> update(std::string id, sys::CgroupLimits limits);
  async::Task<Result<>> set_paused(std::string id, bool paused);

  Result<ContainerState> state(const std::string& id) const;
  std::vector<ContainerState> list() const;
  async::Task<Result<ContainerStats>> stats(std::string id);

  // Groups above containers (pod, QoS class), with limits of their own. remove kills nothing: kFailedPrecondition while busy.
  async::Task<Result<>> create_group(std::string group, sys::CgroupLimits limits);
  async::Task<Result<>> remove_group(std::string group);
  async::Task<Result<ContainerStats>> group_stats(std::string group);

  // Called on the loop when a container stops (not for exec). Each of several is.
  void on_stopped(std::function<void(const ContainerState&)> callback);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace monopod::container
