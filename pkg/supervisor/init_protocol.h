// The few words between the supervisor and the first stage of a container process, over the packet socket at kSyncFd.
//
//   first stage -> supervisor                       supervisor -> first stage
//   'T' + descriptor   master side of the terminal
//   'R'                set up; waits where asked to
//                                                   'S'   go on
//   'X'                about to execve
//   end of stream      execve happened
//   'E' code text      failed; the process ends with that exit code
#pragma once

namespace monopod::supervisor {

inline constexpr char kSyncTerminal = 'T';
inline constexpr char kSyncReady = 'R';
inline constexpr char kSyncStart = 'S';
inline constexpr char kSyncExec = 'X';
inline constexpr char kSyncError = 'E';

}  // namespace monopod::supervisor
