// A container that reaches our executable through /proc (entrypoint "#!/proc/self/exe", or writing to /proc/PID/exe of a process that enters by exec)
// finds a sealed copy: the host's file stays as it is.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "base/strings.h"
#include "container/node_support.h"
#include "sys/root.h"

namespace monopod::container {
namespace {

std::size_t hash_of_program() {
  std::ifstream in(testing_support::program_path(), std::ios::binary);
  return std::hash<std::string>()(std::string(std::istreambuf_iterator<char>(in), {}));
}

TEST(C01OwnExecutable, StaysUnchanged) {
  std::size_t before = hash_of_program();
  testing_support::run_node_case("C01.Attack");
  EXPECT_EQ(hash_of_program(), before);
}

MONOPOD_NODE_CASE(C01, Attack) {
  CO_TRY_ASSIGN(sys::Root root, sys::Root::open(node.dir + "/rootfs"));
  CO_TRY(root.write_file("evil", "#!/proc/self/exe\n", 0755));
  // Whatever our program makes of being its own interpreter, it is confined like any other.
  Result<testing_support::NodeCase::Outcome> script = co_await node.run_container("c1", node.config({"/evil"}));
  if (script) { EXPECT_NE(script->state.exit_code, 0); }

  ContainerConfig config = node.config(
      {"sh", "-c", "while :; do for p in /proc/[0-9]*; do { echo overwritten > $p/exe; } 2>/dev/null; { echo x >> $p/exe; } 2>/dev/null; done; done"});
  config.seccomp.reset();
  config.process.capabilities = all_capabilities();
  CO_TRY(co_await node.runtime.create("c2", config, node.stdio("c2")));
  CO_TRY(co_await node.runtime.start("c2"));
  for (int i = 0; i < 30; ++i) {
    ExecOptions options;
    options.args = {"true"};
    CO_TRY_ASSIGN(ExecSyncOutput out, co_await node.runtime.exec_sync("c2", options, std::chrono::seconds(20)));
    EXPECT_EQ(out.exit_code, 0);
  }
  co_return co_await node.runtime.remove("c2");
}

}  // namespace
}  // namespace monopod::container
