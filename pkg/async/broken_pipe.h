// What a write to a pipe or socket does whose reader went away.
#pragma once

namespace monopod::async {

// From here on it is an error of that stream (EPIPE) and no signal that ends the process. For processes that serve: those that print into a pipe
// want the signal. Spawned programs start with the default again (sys/process.h).
void ignore_broken_pipes();

}  // namespace monopod::async
