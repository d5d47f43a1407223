#include "async/broken_pipe.h"

#include <signal.h>

namespace monopod::async {

void ignore_broken_pipes() { ::signal(SIGPIPE, SIG_IGN); }

}  // namespace monopod::async
