// Paths that stay beneath a directory: where "..", an absolute symlink or one with too many ".." would lead out, the lookup fails, as the reference
// implementations have it. (sys::Root's own lookups take such a symlink as a root directory would.) Internal to the package.
#pragma once

#include "wasm/wasi/abi.h"

namespace monopod::wasm::wasi {

// As sys::Root::open_file, also while somebody swaps components.
Result<sys::Fd> open_beneath(const sys::Root& root, std::string_view path, int flags, mode_t mode = 0);
// The parent of the last component, which is not looked up. kInvalidArgument where there is none: ".", "a/..".
Result<sys::Root::Parent> open_parent_beneath(const sys::Root& root, std::string_view path);
// What a failed lookup is to the guest: leading out is a lack of capability.
u16 lookup_errno(const Error& error);

}  // namespace monopod::wasm::wasi
