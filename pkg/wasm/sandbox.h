// The process that runs an untrusted guest gives up what the guest was not granted: a hole in the engine then leads into an empty place.
#pragma once

#include "base/error.h"

namespace monopod::wasm {

struct SandboxOptions {
  bool may_connect = false;  // sockets may be made: --allow-connect
};
// For a process that was born into user, mount, pid, ipc and uts namespaces of its own, and is root in them; all that the guest needs of the host is open. Its
// root becomes an empty, read-only file system; no capabilities, no new privileges, no core files; a list of allowed system calls (what is not on it fails with
// EPERM, programs and tracing end the process). One thread so far. Errors: what the kernel refuses, by its step.
Result<> enter_sandbox(const SandboxOptions& options);

}  // namespace monopod::wasm
