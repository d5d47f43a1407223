#include "container/kernel_words.h"

#include <linux/mempolicy.h>

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace monopod::container {
namespace {

struct Word {
  std::string_view name;
  std::uint32_t number;
};
constexpr std::array kPolicies = {Word{"SCHED_OTHER", 0}, Word{"SCHED_FIFO", 1}, Word{"SCHED_RR", 2},   Word{"SCHED_BATCH", 3},
                                  Word{"SCHED_ISO", 4},   Word{"SCHED_IDLE", 5}, Word{"SCHED_DEADLINE", 6}};
constexpr std::array kSchedulerFlags = {
    Word{"SCHED_FLAG_RESET_ON_FORK", 0x01}, Word{"SCHED_FLAG_RECLAIM", 0x02},        Word{"SCHED_FLAG_DL_OVERRUN", 0x04},   Word{"SCHED_FLAG_KEEP_POLICY", 0x08},
    Word{"SCHED_FLAG_KEEP_PARAMS", 0x10},   Word{"SCHED_FLAG_UTIL_CLAMP_MIN", 0x20}, Word{"SCHED_FLAG_UTIL_CLAMP_MAX", 0x40}};
constexpr std::array kIoClasses = {Word{"IOPRIO_CLASS_RT", 1}, Word{"IOPRIO_CLASS_BE", 2}, Word{"IOPRIO_CLASS_IDLE", 3}};
constexpr std::array kMemoryPolicies = {
    Word{"MPOL_DEFAULT", MPOL_DEFAULT},       Word{"MPOL_PREFERRED", MPOL_PREFERRED}, Word{"MPOL_BIND", MPOL_BIND},
    Word{"MPOL_INTERLEAVE", MPOL_INTERLEAVE}, Word{"MPOL_LOCAL", MPOL_LOCAL},         Word{"MPOL_PREFERRED_MANY", 5},
    Word{"MPOL_WEIGHTED_INTERLEAVE", 6},      Word{"MPOL_F_STATIC_NODES", 1U << 15},  Word{"MPOL_F_RELATIVE_NODES", 1U << 14},
    Word{"MPOL_F_NUMA_BALANCING", 1U << 13}};

template <std::size_t N>
std::optional<std::uint32_t> find(const std::array<Word, N>& words, std::string_view name) {
  auto it = std::find_if(words.begin(), words.end(), [&](const Word& w) { return w.name == name; });
  if (it == words.end()) return std::nullopt;
  return it->number;
}

}  // namespace

std::optional<std::uint32_t> find_scheduler_policy(std::string_view name) { return find(kPolicies, name); }
std::optional<std::uint64_t> find_scheduler_flag(std::string_view name) { return find(kSchedulerFlags, name); }
std::optional<std::uint32_t> find_io_class(std::string_view name) { return find(kIoClasses, name); }
std::optional<std::uint32_t> find_memory_policy(std::string_view name) { return find(kMemoryPolicies, name); }

std::optional<std::vector<std::uint64_t>> parse_cpu_list(std::string_view text) {
  std::vector<std::uint64_t> out;
  for (std::string_view part : split(text, ',')) {
    auto [first, last] = split_once(trim(part), '-');
    auto from = parse_int<std::uint32_t>(first);
    auto to = last ? parse_int<std::uint32_t>(*last) : from;
    if (!from || !to || *from > *to || *to >= kCpusMax) return std::nullopt;
    if (out.size() <= *to / 64) out.resize(*to / 64 + 1);
    for (std::uint32_t cpu = *from; cpu <= *to; ++cpu) out[cpu / 64] |= std::uint64_t{1} << (cpu % 64);
  }
  return out;
}

}  // namespace monopod::container
