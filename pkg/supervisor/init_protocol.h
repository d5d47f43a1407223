// The few words between the supervisor and the first stage of a container process, over the packet socket at kSyncFd.
//
//   first stage -> supervisor                       supervisor -> first stage
//   'T' + descriptor   master side of the terminal
//   'R'                set up; waits where asked to
//                                                   'S'   go on
//   'X'                about to execve
//   end of stream      execve happened
//   'E' code text      failed; the process ends with that exit code
//
// With a parent that does not stay (monopod runtime), where the spec asks for it:
//   'H'                namespaces and mounts are made, the root is still the host's
//                                                   'G'   the hooks have run
//   'R'                                             'G'   the pid is written down
//   'N' + descriptor   the listener of the system call filter
#pragma once

namespace monopod::supervisor {

inline constexpr char kSyncTerminal = 'T';
inline constexpr char kSyncReady = 'R';
inline constexpr char kSyncStart = 'S';
inline constexpr char kSyncExec = 'X';
inline constexpr char kSyncError = 'E';
inline constexpr char kSyncHooks = 'H';
inline constexpr char kSyncListener = 'N';
inline constexpr char kSyncGo = 'G';

}  // namespace monopod::supervisor
