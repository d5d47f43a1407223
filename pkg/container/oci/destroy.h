// The undoing of create, from whatever step it had reached; each part is idempotent, so that what was cut short can be done again.
#pragma once

#include "container/oci/state.h"

namespace monopod::container::oci {

// Kills what is left, removes the control group, then the directory. process: the record's, if it lives.
Result<> destroy(const StateDirectory& directory, const Record& record, const sys::Pidfd* process = nullptr);
// SIGKILL to the container's process and to all of its control group; waits until the process is dead.
Result<> kill_everything(const Record& record);

}  // namespace monopod::container::oci
