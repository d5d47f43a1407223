// Linux namespaces by descriptor.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "sys/fd.h"

namespace monopod::sys {

// Opens a namespace file (/proc/PID/ns/net, or one pinned by a bind mount) and checks that it is one (nsfs).
Result<Fd> open_namespace(const std::string& path);
// The calling thread's own: name is "net", "mnt", "ipc", "uts", "pid", "cgroup", "user".
Result<Fd> own_namespace(const char* name);

// Whether root here is root of the host.
bool in_initial_user_namespace();

// Whether our user namespace has a group of this number.
bool has_group_id(unsigned id);
// Whether processes of our user namespace may change their supplementary groups (user_namespaces(7)).
bool may_set_groups();
// Processes of the PID namespace that pid is in, pid among them. kNotFound where it has gone.
Result<std::vector<int>> processes_with(int pid);

// One line of /proc/PID/uid_map: size ids from inside on are those from outside on.
struct IdMap {
  std::uint32_t inside = 0;
  std::uint32_t outside = 0;
  std::uint32_t size = 0;
  bool operator==(const IdMap&) const = default;
};
struct IdMaps {
  std::vector<IdMap> uids;
  std::vector<IdMap> gids;
  bool empty() const { return uids.empty(); }
  bool operator==(const IdMaps&) const = default;
};
// The maps of a child's new user namespace, before it does anything else. Where we may not write more than our own id, newuidmap(1) and newgidmap(1) do.
Result<> write_id_maps(pid_t pid, const std::vector<IdMap>& uids, const std::vector<IdMap>& gids);
// A user namespace with these maps and no process: what id-mapped mounts are made from.
Result<Fd> make_user_namespace(const std::vector<IdMap>& uids, const std::vector<IdMap>& gids);
// The same, with other new namespaces (CLONE_NEWNET, ...) that belong to it: those of these names ("user", "net", ...), in their order.
Result<std::vector<Fd>> make_mapped_namespaces(int flags, const IdMaps& maps, const std::vector<const char*>& names);

// Runs work on a thread of its own that has entered the namespace (setns with nstype, e.g. CLONE_NEWNET), waits for it and ends
// the thread: nothing of it sticks to the caller. Blocking: call on async::Pool when on the loop. Sockets made inside belong to that namespace.
Result<> run_in_namespace(int namespace_fd, int nstype, std::function<Result<>()> work);
inline Result<> run_in_network_namespace(int namespace_fd, std::function<Result<>()> work) {
  return run_in_namespace(namespace_fd, 0x40000000 /* CLONE_NEWNET */, std::move(work));
}

// Runs work on a thread of its own in a mount namespace of its own, a copy of ours that shares nothing with it: what work mounts goes with it, but for what it
// keeps a descriptor of.
Result<> run_with_private_mounts(std::function<Result<>()> work);

// Makes new namespaces (CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) on a helper thread, runs prepare inside (bring lo up, set the
// host name), and pins each by a bind mount on directory/{net,ipc,uts}. No process stays. On error nothing is left. With maps they belong to a new
// user namespace, pinned as "user"; prepare stays ours, outside of it.
Result<> pin_new_namespaces(int flags, const std::string& directory, std::function<Result<>()> prepare, const IdMaps& maps = {});
// Lazily unmounts and removes the pins, and the directory if then empty. Absent is no error.
Result<> unpin_namespaces(const std::string& directory);

}  // namespace monopod::sys
