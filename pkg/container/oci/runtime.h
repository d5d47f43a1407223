// `monopod runtime`: the operations of the OCI runtime spec, by a process that does one of them and ends. No supervisor, no database: the caller's
// standard streams become the container's, its first process is left to the caller's subreaper, and what must be remembered is in state.h's files.
// Everything here blocks.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "codec/json.h"
#include "container/config.h"
#include "container/oci/launch.h"
#include "container/oci/state.h"
#include "sys/process.h"

namespace monopod::container::oci {

struct CreateOptions {
  std::string id;
  std::string bundle;          // empty: the working directory
  std::string console_socket;
  std::string pid_file;
  std::string pidfd_socket;    // gets a descriptor of the process
  int preserve_fds = 0;
  bool pivot = true;
  bool new_keyring = true;
  bool systemd = false;        // its control group driver
  std::function<Result<>(sys::Fd)> on_terminal;  // instead of a console socket: the caller stays
};

struct RunOptions {
  bool detach = false;
  bool keep = false;           // not deleted at its end
  bool subreaper = true;
};

struct ExecRequest {
  std::string id;
  std::string process_file;               // process.json; else the rest over the container's own process
  std::vector<std::string> args;
  std::vector<std::string> env;           // added
  std::string cwd;
  std::string user;                       // UID[:GID]
  std::vector<std::uint32_t> additional_gids;
  std::vector<std::string> capabilities;  // added to bounding, effective and permitted
  std::string apparmor_profile;
  std::string selinux_label;
  std::string console_socket;
  std::string pid_file;
  std::string pidfd_socket;
  std::vector<std::string> cgroups;       // "PATH" below the container's own; on v1 also "CONTROLLER,...:PATH", any number
  int preserve_fds = 0;
  bool terminal = false;
  bool no_new_privileges = false;
  bool detach = false;
  bool ignore_paused = false;
};

// Errors: kNotFound "container does not exist", kFailedPrecondition for a wrong status, kInvalidArgument for a wrong config or option; else what failed.
class Runtime {
 public:
  explicit Runtime(std::string root) : root_(std::move(root)) {}

  Result<> create(const CreateOptions& options);
  Result<> start(const std::string& id);
  // create, start, and unless detached: wait, delete. The program's exit code, 128 + signal.
  Result<int> run(const CreateOptions& options, const RunOptions& run);
  Result<int> exec(const ExecRequest& request);
  Result<> kill(const std::string& id, int signal, bool all);
  Result<> remove(const std::string& id, bool force);
  Result<> set_paused(const std::string& id, bool paused);
  // Members of linux.resources over those in force.
  Result<> update(const std::string& id, const json::Value& resources);

  Result<json::Value> state(const std::string& id);
  Result<std::vector<json::Value>> list();
  Result<std::vector<int>> processes(const std::string& id);
  // One event of `events`: {"type":"stats","id":…,"data":{…}}.
  Result<json::Value> stats(const std::string& id);
  // Prints stats at the interval and {"type":"oom"} when it happens, until the container stops.
  Result<> follow_events(const std::string& id, std::chrono::milliseconds interval);

 private:
  struct Found {
    StateDirectory directory;
    Record record;
    RuntimeStatus status;
    std::optional<sys::Pidfd> process;  // while it lives
    sys::Fd waiting;                    // with the lock: the connection to a first stage that waits for start, which hears nobody else meanwhile
  };
  Result<Found> find(const std::string& id, bool lock);
  void look(Found& c) const;
  void let_go();  // of what the last call has open, its lock too
  Result<> remove_found(const std::string& id, bool force);

  std::string root_;
  // What a call has open, until this goes: a process that ends then closes all at once.
  std::optional<Found> found_;
  std::optional<StateDirectory> made_;
  std::optional<FirstStage> stage_;
};

// What of the specification this runtime has (runtime-spec features.md).
json::Value features();
// "TERM", "SIGTERM", "15".
std::optional<int> find_signal(std::string_view name);

}  // namespace monopod::container::oci
