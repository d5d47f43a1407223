// Processes that die at the wrong moment, double deletes, deletes while starting.
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>

#include "async/test_support.h"
#include "base/strings.h"
#include "container/node_support.h"

namespace monopod::container {
namespace {

MONOPOD_NODE_TEST(C16Races, InitDiesBetweenCreateAndStart) {
  CO_TRY(co_await node.runtime.create("c1", node.config({"true"}), node.stdio("c1")));
  ::kill(node.runtime.state("c1")->pid, SIGKILL);
  CO_TRY_ASSIGN(ContainerState state, co_await node.runtime.wait("c1"));
  EXPECT_EQ(state.exit_code, 137);
  Result<> started = co_await node.runtime.start("c1");
  EXPECT_EQ(started.error().code(), Code::kFailedPrecondition);
  Result<> killed = co_await node.runtime.kill("c1", SIGTERM);
  EXPECT_EQ(killed.error().code(), Code::kFailedPrecondition);
  co_return co_await node.runtime.remove("c1");
}

MONOPOD_NODE_TEST(C16Races, DoubleAndConcurrentDeletes) {
  CO_TRY(co_await node.runtime.create("c1", node.config({"sleep", "1000"}), node.stdio("c1")));
  CO_TRY(co_await node.runtime.start("c1"));
  async::Scope scope(node.loop.executor());
  for (int i = 0; i < 5; ++i) scope.spawn(node.runtime.remove("c1"));
  CO_TRY(co_await scope.join());
  EXPECT_EQ(node.runtime.state("c1").error().code(), Code::kNotFound);
  co_return co_await node.runtime.remove("never-was");
}

async::Task<Result<>> start_quietly(Runtime& runtime, std::string id) {
  (void)co_await runtime.start(std::move(id));
  co_return Result<>();
}

MONOPOD_NODE_TEST(C16Races, DeleteWhileStartingAndReuseOfTheName) {
  for (int i = 0; i < 10; ++i) {
    CO_TRY(co_await node.runtime.create("c1", node.config({"sleep", "1000"}), node.stdio("c1")));
    async::Scope scope(node.loop.executor());
    scope.spawn(start_quietly(node.runtime, "c1"));
    scope.spawn(node.runtime.remove("c1"));
    CO_TRY(co_await scope.join());
    EXPECT_EQ(node.runtime.list().size(), 0U);
  }
  co_return Result<>();
}

MONOPOD_NODE_TEST(C16Races, NamesAreChecked) {
  for (const char* id : {"", ".", "..", "a/b", "../x", "a b", "a\n"}) {
    Result<> created = co_await node.runtime.create(id, node.config({"true"}), {});
    CO_ASSERT_TRUE(!created);
    EXPECT_EQ(created.error().code(), Code::kInvalidArgument) << id;
  }
  CO_TRY(co_await node.runtime.create("c1", node.config({"true"}), node.stdio("c1")));
  Result<> again = co_await node.runtime.create("c1", node.config({"true"}), node.stdio("c1"));
  EXPECT_EQ(again.error().code(), Code::kAlreadyExists);
  co_return co_await node.runtime.remove("c1");
}

// The node dies while a container waits for its start: the next one finds it, and can start it.
MONOPOD_NODE_TEST(C16Races, NodeDiesBetweenCreateAndStart) {
  if (node.run == 0) {
    CO_TRY(co_await node.runtime.create("c1", node.config({"sh", "-c", "echo started; exit 6"}), node.stdio("c1")));
    std::ofstream(node.dir + "/run") << 1;
    testing_support::die_by_kill();
  }
  EXPECT_EQ(node.runtime.state("c1")->status, Status::kCreated);
  CO_TRY(co_await node.runtime.start("c1"));
  CO_TRY_ASSIGN(ContainerState state, co_await node.runtime.wait("c1"));
  EXPECT_EQ(state.exit_code, 6);
  CO_TRY(co_await node.runtime.remove("c1"));
  EXPECT_EQ(node.read_log("c1"), "stdout F started\n");
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
