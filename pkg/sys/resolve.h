// Looking up a path below a directory, as Root does it: for those who want another rule of what leads out. Prefer Root.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "sys/fd.h"

namespace monopod::sys {

// openat2(2) with O_CLOEXEC added; an empty path is the directory itself. resolve: RESOLVE_* of <linux/openat2.h>. mode only with O_CREAT and O_TMPFILE.
Result<Fd> open_resolved(int directory, std::string_view path, int flags, mode_t mode, std::uint64_t resolve);

// The path of the parent (empty: the directory itself) and the last component; slashes behind it are dropped. kInvalidArgument where there is none: ".", "a/..".
Result<std::pair<std::string_view, std::string_view>> split_parent(std::string_view path);

}  // namespace monopod::sys
