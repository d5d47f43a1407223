// File work that the v1 and v2 back ends share: a directory tree of control files.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "sys/cgroup.h"

namespace monopod::sys {

// Says a sentence once in this process's life per flag.
void warn_once(std::atomic<bool>& said, std::string_view sentence, const Error& error);

// "key value" lines; absent files give an empty map.
std::map<std::string, std::uint64_t> read_flat_keyed(const std::string& path);
std::optional<std::uint64_t> read_number(const std::string& path);  // nullopt: absent, or "max"
bool file_exists(const std::string& path);
Result<> make_path(const std::string& root, const std::string& group);  // mkdir -p below root
// Depth first; retries a busy directory for a while, since tasks leave a group a moment after they are dead.
Result<> remove_path(const std::string& path);
// Pids of cgroup.procs here and below.
void collect_processes(const std::string& path, std::vector<int>& out);
std::vector<std::string> list_directories(const std::string& path);
// SIGKILL to everything in the group until it is empty; for kernels and trees without cgroup.kill.
Result<> kill_by_signal(const std::string& path);

Result<std::unique_ptr<Cgroups>> open_cgroup_v2(const std::string& mount, const CgroupOptions& options);
struct V1Roots {
  std::map<std::string, std::string> controllers;  // name -> our own directory in its hierarchy
  std::string unified;                             // our directory in the v2 tree; empty where not mounted
};
Result<std::unique_ptr<Cgroups>> open_cgroup_v1(const V1Roots& roots, const CgroupOptions& options);

}  // namespace monopod::sys
