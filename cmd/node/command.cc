// `monopod node` (hidden): what the supervisor starts.
#include <cstdlib>

#include "base/strings.h"
#include "cmd/commands.h"
#include "cmd/node/node.h"
#include "cmd/node/server_options.h"

namespace monopod::cmd {
namespace {

NodeSockets inherited() {
  NodeSockets sockets;
  const char* count = std::getenv("MONOPOD_LISTEN_FDS");
  if (count == nullptr) return sockets;
  for (int i = 0; i < parse_int<int>(count).value_or(0); ++i) sockets.inherited.push_back(sys::Fd(3 + i));
  ::unsetenv("MONOPOD_LISTEN_FDS");
  return sockets;
}

}  // namespace

void add_node(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "node", "The node process; started by monopod server", "");
  app->group("");  // hidden
  auto options = std::make_shared<ServerOptions>();
  add_server_options(*app, *options);
  app->callback([options, &invocation] {
    invocation.run = [options] {
      configure_logging();
      Result<> ended = run_node(*options, inherited());
      // Another monopod has the data: no restart mends that, and the exit code says so to the supervisor.
      if (!ended && ended.error().message().find("data dir in use") != std::string::npos) ended = fail(Code::kFailedPrecondition, ended.error().message());
      return report(ended);
    };
  });
}

}  // namespace monopod::cmd
