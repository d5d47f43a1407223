// The steps of the first stage, one function each; init.cc holds their order. All run single-threaded in the new process and may leave it changed
// on failure: it ends then.
#pragma once

#include <functional>
#include <string>

#include "container/init_spec.h"
#include "sys/fd.h"
#include "sys/root.h"

namespace monopod::container {

// For descriptors that will not be used any more: they are closed together when the root stands (close_all_but), not one by one. What is left open is
// bounded: past it each is closed here.
void leave_open(sys::Fd fd);
// Every descriptor from 3 on that is not among these; numbers below 0 and their order do not matter.
void close_all_but(std::vector<int> kept);

// --- init_mounts.cc
// Own mount namespace's propagation, root, mounts in order, devices, hidden paths, pivot. before_pivot runs when all is mounted, nothing is hidden and the
// root still the host's; may be empty. Returns the container's root.
Result<sys::Root> build_root(const InitSpec& spec, const std::function<Result<>()>& before_pivot);
Result<> apply_sysctls(const ContainerConfig& config);

// --- init_hide.cc
// Masked and read-only paths, before pivot_root: by_path: /proc is the host's, so that paths below /proc/self/fd name our descriptors.
Result<> hide_paths(const sys::Root& root, const ContainerConfig& config, bool by_path);

// --- init_devices.cc
// The standard devices, links and the config's own devices of /dev, into a directory or a detached mount; false: nodes may not be made here, and
// bind_devices must be called when it is attached.
Result<bool> fill_dev(const sys::Root& dev, const ContainerConfig& config);
Result<> bind_devices(const sys::Root& dev, const ContainerConfig& config);
Result<> make_other_devices(const sys::Root& root, const ContainerConfig& config);  // outside of /dev
Result<> copy_tree(int from, int to);                                               // what a directory holds, with owners and modes

// --- init_kernel.cc
// Where the program's security labels are written, opened while /proc is the host's. Empty where none is asked for.
Result<sys::Fd> open_label_file(const ProcessSpec& process);
// Labels, personality, scheduler, I/O priority, memory policy; while still privileged.
Result<> apply_kernel_settings(const InitSpec& spec, int label_fd);
Result<> set_cpu_affinity(const std::string& cpus);  // empty: as it is
// To all that the control group allows: whoever starts a container may be bound to fewer.
void reset_cpu_affinity();

// --- init_terminal.cc
// A pseudo-terminal of the container's own devpts as descriptors 0, 1 and 2 and controlling terminal. Returns the master.
Result<sys::Fd> open_terminal(const sys::Root& root, const InitSpec& spec, bool bind_console);

// --- init_process.cc
struct Credentials {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> additional_gids;
  std::string home = "/";
};
Result<Credentials> find_credentials(const sys::Root& root, const ProcessSpec& process);
Result<> give_stdio(const Credentials& credentials);   // so that /dev/stdout can be opened by the user
// Working directory (inside the root or an error), limits, ids, capabilities, no_new_privs, filter. The program is looked up as the user, but
// before the filter, which may forbid looking; its absence is told apart from the rest by program. A filter's listener is handed to on_listener.
using OnListener = std::function<Result<>(sys::Fd)>;
Result<> become(const sys::Root& root, const InitSpec& spec, const Credentials& credentials, const std::vector<std::string>& env, Result<std::string>& program,
                const OnListener& on_listener);
// The program's path: argv[0] itself where it has a slash, else the first match in PATH of env. The error says what runc's does.
Result<std::string> find_program(const std::string& name, const std::vector<std::string>& env);

// --- reaper.cc
// Forwards signals to child, reaps everything, returns the child's exit status (128 + signal). child -1: waits for SIGTERM or SIGINT, returns 0.
int run_reaper(int child);

}  // namespace monopod::container
