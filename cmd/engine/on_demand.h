// An engine for a command that finds none: started in the background, it ends by itself once nothing runs and nobody asks.
#pragma once

#include <string>

#include "base/error.h"

namespace monopod::cmd {

// Where nothing listens at the socket, starts `monopod engine` there as a daemon, and waits until it answers. Options of the engine come from the
// environment (MONOPOD_ENGINE_DATA_DIR, …). Nothing happens where one listens, for who is not root, and with MONOPOD_ENGINE_AUTOSTART=0: the
// caller's connection says what is wrong then. kUnavailable with the engine's last line where it does not come up.
Result<> ensure_engine(const std::string& socket);

// Whether somebody listens; a refusal for want of rights counts as yes, so that it is told apart from nobody.
bool engine_listens(const std::string& socket);

}  // namespace monopod::cmd
