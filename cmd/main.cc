// The one executable. The hidden first stage of containers is dispatched before anything else is set up: it runs in every
// container start and must not pay for a command line parser; nor must the OCI runtime, which has its own.
#include <malloc.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>
#include <system_error>

#include "base/failpoint.h"
#include "cmake/start.h"
#include "cmd/commands.h"
#include "cmd/runtime/runtime.h"
#include "container/init.h"

namespace monopod::cmd {
namespace {

int run(int argc, char** argv) {
  // Few threads allocate; more arenas than these only cost memory.
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_TRIM_THRESHOLD, 128 << 10);
  if (const char* points = std::getenv("MONOPOD_FAILPOINTS"); points != nullptr)
    if (Result<> armed = arm_failpoints(points); !armed) return report(armed);

  CLI::App app("monopod: a complete single-node Kubernetes in one file", "monopod");
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help of every subcommand");
  app.footer("Start here:\n  sudo monopod server                 run the node\n  kubectl --kubeconfig /var/lib/monopod/admin.kubeconfig get nodes");
  Invocation invocation;
  invocation.argv.assign(argv, argv + argc);
  // Only the one that is asked for, if it is: building the others takes longer than many a command.
  std::string_view asked = argc > 1 ? argv[1] : "";
  bool known = std::ranges::any_of(commands(), [asked](const Command& c) { return c.name == asked; });
  for (const Command& c : commands())
    if (!known || c.name == asked || asked == "completion") c.add(app, invocation);
  int own = argc;  // up to "--"
  for (int i = 1; i < argc && own == argc; ++i)
    if (std::strcmp(argv[i], "--") == 0) own = i;
  for (int i = own + 1; i < argc; ++i) invocation.tail.emplace_back(argv[i]);
  try {
    app.parse(own, argv);
  } catch (const CLI::ParseError& e) {
    int code = app.exit(e);
    return code == 0 ? 0 : exit_code(Code::kInvalidArgument);
  }
  return invocation.run ? invocation.run() : 0;
}

// What nobody could do without: memory, threads.
int run_in_want(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    std::fputs("monopod: not enough memory\n", stderr);
  } catch (const std::system_error& e) {
    std::fprintf(stderr, "monopod: %s\n", e.what());
  }
  return exit_code(Code::kResourceExhausted);
}

}  // namespace
}  // namespace monopod::cmd

int main(int argc, char** argv) {
  mallopt(M_TOP_PAD, 1 << 20);  // untouched pages cost nothing, asking for them bit by bit does
  mallopt(M_TRIM_THRESHOLD, 8 << 20);  // nor is giving them back of use to who ends soon; the others say what they want below
  if (argc >= 2 && std::strcmp(argv[1], "init") == 0) return monopod::container::init_main(argc, argv);
  std::span<char*> words(argv, static_cast<std::size_t>(argc));
  if (monopod::cmd::is_runtime_call(words)) return monopod::cmd::runtime_main(words);
  monopod::relocate_libraries();
  return monopod::cmd::run_in_want(argc, argv);
}
