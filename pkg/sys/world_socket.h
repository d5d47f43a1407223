// Sockets of this process's own dealings with the world: registries, name servers, published ports. A process whose network namespace is a private
// one (the engine of an ordinary user) has them made by its parent outside: a socket stays in the namespace in which it was made.
#pragma once

#include "sys/fd.h"

namespace monopod::sys {

// socket(2) with SOCK_CLOEXEC and SOCK_NONBLOCK, in the world's network namespace. Blocks shortly.
Result<Fd> make_world_socket(int family, int type);

// From now on they come through broker, the other end of serve_world_sockets(). Once, before there are other threads.
void use_socket_broker(Fd broker);
// One request from the other end. False: it is gone.
Result<bool> serve_world_socket(int broker);

}  // namespace monopod::sys
