// `monopod runtime`: the OCI runtime's command line.
#pragma once

#include <span>

namespace monopod::cmd {

// Whether this invocation is one of the runtime: "monopod runtime ...", or called by a name of one (runc, crun, monopod-runtime), since clients name a
// runtime by a path alone.
bool is_runtime_call(std::span<char*> argv);
int runtime_main(std::span<char*> argv);

}  // namespace monopod::cmd
