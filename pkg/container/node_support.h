// For tests: a supervisor in a process of its own, whose node is this test program run again with "node CASE DIR"; and a busybox root
// directory. The test binary must hand argv to run_hidden_role() first.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>

#include "async/loop.h"
#include "container/runtime.h"

namespace monopod::container::testing_support {

// What a case gets: an open runtime on a fresh loop, inside the node process.
struct NodeCase {
  async::Loop& loop;
  async::Time& time;
  async::Pool& pool;
  supervisor::Supervisor& supervisor;
  sys::Cgroups& cgroups;
  Runtime& runtime;
  std::string dir;   // of this test; rootfs below, logs below
  int run = 0;       // 0 for the first node process of the supervisor, 1 for the next
  std::string group; // control group for this test's containers

  ContainerConfig config(std::vector<std::string> args) const;  // default_config over dir/rootfs, own control group
  std::string log_path(const std::string& id) const { return dir + "/" + id + ".log"; }
  supervisor::StdioOptions stdio(const std::string& id) const;
  // create, start, wait, remove; the log's text without stamps ("stdout F line").
  struct Outcome {
    ContainerState state;
    std::string log;
  };
  async::Task<Result<Outcome>> run_container(std::string id, ContainerConfig config);
  std::string read_log(const std::string& id) const;
};
using CaseBody = async::Task<Result<>> (*)(NodeCase& node);

// Registered by MONOPOD_NODE_TEST before main.
struct CaseTable {
  std::map<std::string, CaseBody> cases;
};
CaseTable& case_table();
struct CaseRegistration {
  CaseRegistration(const char* name, CaseBody body) { case_table().cases[name] = body; }
};

// Path of this test program on disk, for use as a program inside containers ("probe WHAT").
const char* program_path();

// If argv asks for a hidden role (init, node, supervisor, probe): runs it and returns its exit code.
std::optional<int> run_hidden_role(int argc, char** argv);

// In the test process: makes the directory, starts the supervisor, waits for it, checks that nothing is left (mounts, control groups, processes, namespaces).
void run_node_case(const std::string& name);

// A case may end the node early so that the supervisor starts the next one: writes down that it wants run + 1, then dies.
[[noreturn]] void die_by_kill();

}  // namespace monopod::container::testing_support

// Body of a case, without a TEST: call run_node_case("suite.name") from one.
#define MONOPOD_NODE_CASE(suite, name)                                                                                            \
  static ::monopod::async::Task<::monopod::Result<>> suite##_##name##_case(::monopod::container::testing_support::NodeCase& node); \
  static const ::monopod::container::testing_support::CaseRegistration suite##_##name##_registration(#suite "." #name, &suite##_##name##_case); \
  static ::monopod::async::Task<::monopod::Result<>> suite##_##name##_case([[maybe_unused]] ::monopod::container::testing_support::NodeCase& node)

// TEST whose body is a coroutine in the node process: expectations made there count.
#define MONOPOD_NODE_TEST(suite, name)                                                          \
  TEST(suite, name) { ::monopod::container::testing_support::run_node_case(#suite "." #name); } \
  MONOPOD_NODE_CASE(suite, name)
