// System call filters: profile to BPF program, on the node's side, so that the first stage only loads bytes.
#pragma once

#include <string>

#include "container/config.h"

namespace monopod::container {

inline constexpr std::size_t kSeccompInstructionsMax = 4096;

// An array of struct sock_filter as bytes. Fails closed: kInvalidArgument for an unknown action, operator, architecture or flag, for a denied system call
// that nobody knows, and for more than 4096 instructions. Allowed names that this machine lacks are left out.
// System calls newer than the profile language's tables answer ENOSYS, so that a newer libc falls back instead of failing.
Result<std::string> compile_seccomp(const SeccompProfile& profile);

}  // namespace monopod::container
