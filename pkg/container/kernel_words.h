// Words of config.json that stand for numbers of the kernel: schedulers, I/O classes, memory policies; lists of cpus and nodes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace monopod::container {

std::optional<std::uint32_t> find_scheduler_policy(std::string_view name);  // SCHED_OTHER: sched(7)
std::optional<std::uint64_t> find_scheduler_flag(std::string_view name);    // SCHED_FLAG_RESET_ON_FORK: sched_setattr(2)
std::optional<std::uint32_t> find_io_class(std::string_view name);          // IOPRIO_CLASS_BE: ioprio_set(2)
std::optional<std::uint32_t> find_memory_policy(std::string_view name);     // MPOL_BIND, MPOL_F_STATIC_NODES: set_mempolicy(2)

inline constexpr std::size_t kCpusMax = 8192;
// "0-3,7" as a bit mask of 64-bit words; nullopt where it is no such list, names nothing, or a number of 8192 and more.
std::optional<std::vector<std::uint64_t>> parse_cpu_list(std::string_view text);

}  // namespace monopod::container
