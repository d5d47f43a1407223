// The first stage of every container process: `monopod init`, run from a copy of our executable that nobody can write, which turns itself
// into the container's program. Hidden: never run by hand.
//
// Order (each step names the attack it stands against where there is one): enter the control groups; join the pod's namespaces; make the
// container's own; build the file system on the private root (init_mounts); hooks; pivot_root; masked and read-only paths by descriptor; sysctls; terminal; wait for
// start; limits, ids, capabilities, no_new_privs, seccomp; close every other descriptor; execve.
#pragma once

namespace monopod::container {

// Returns only on failure, after the reason went to the parent: 126 (cannot execute), 127 (not found), 128 (all else).
int init_main(int argc, char** argv);

}  // namespace monopod::container
