#include "wasm/wasi/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>

#include "sys/resolve.h"

namespace monopod::wasm::wasi {

Result<sys::Fd> open_beneath(const sys::Root& root, std::string_view path, int flags, mode_t mode) {
  return sys::open_resolved(root.fd(), path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

Result<sys::Root::Parent> open_parent_beneath(const sys::Root& root, std::string_view path) {
  TRY_ASSIGN(auto parts, sys::split_parent(path));
  TRY_ASSIGN(sys::Fd directory, open_beneath(root, parts.first, O_PATH | O_DIRECTORY));
  return sys::Root::Parent{std::move(directory), std::string(parts.second)};
}

u16 lookup_errno(const Error& error) { return error.os_errno() == EXDEV ? u16{kNotCapable} : errno_of(error); }

}  // namespace monopod::wasm::wasi
