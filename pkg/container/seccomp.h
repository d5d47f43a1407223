// System call filters: profile to BPF program, on the node's side, so that the first stage only loads bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "container/config.h"

namespace monopod::container {

inline constexpr std::size_t kSeccompInstructionsMax = 4096;

// An array of struct sock_filter as bytes. Fails closed: kInvalidArgument for an unknown action, operator, architecture or flag, for a denied system call
// that nobody knows, and for more than 4096 instructions. Allowed names that this machine lacks are left out.
// System calls newer than the profile language's tables answer ENOSYS, so that a newer libc falls back instead of failing.
Result<std::string> compile_seccomp(const SeccompProfile& profile);

bool uses_notify(const SeccompProfile& profile);                   // SCMP_ACT_NOTIFY anywhere
std::uint32_t seccomp_load_flags(const SeccompProfile& profile);  // SECCOMP_FILTER_FLAG_* for seccomp(2) of its known flags
// What `features` lists.
std::vector<std::string> seccomp_action_names();
std::vector<std::string> seccomp_operator_names();
std::vector<std::string> seccomp_architecture_names();
std::vector<std::string> seccomp_flag_names();

}  // namespace monopod::container
