// Output without end that nobody reads, clients that go away, many execs (also CVE-2022-23471, CVE-2025-64329): memory stays bounded, nothing leaks.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "async/test_support.h"
#include "base/bytes.h"
#include "base/strings.h"
#include "container/node_support.h"
#include "sys/root.h"

namespace monopod::container {
namespace {

constexpr std::int64_t kGrowthKbMax = 16 << 10;

std::int64_t resident_kb(int pid) {
  std::string text = sys::read_host_file(cat("/proc/", pid, "/statm")).value();
  return parse_int<std::int64_t>(split(text, ' ')[1]).value() * ::sysconf(_SC_PAGESIZE) / 1024;
}

MONOPOD_NODE_TEST(C15Streams, UnreadOutputIsBounded) {
  CO_TRY(co_await node.runtime.create("c1", node.config({"sh", "-c", "yes"}), {}));
  CO_TRY(co_await node.runtime.start("c1"));
  std::int64_t before = resident_kb(::getppid());
  CO_TRY_ASSIGN(AttachedStreams attached, co_await node.runtime.attach("c1", false, true, false));
  ExecOptions options;
  options.args = {"yes"};
  CO_TRY_ASSIGN(std::unique_ptr<ExecSession> unread, co_await node.runtime.exec("c1", options));
  for (int i = 0; i < 10; ++i) {  // time enough for gigabytes, were nobody holding them back
    ExecOptions pass;
    pass.args = {"true"};
    CO_TRY(co_await node.runtime.exec_sync("c1", pass, std::chrono::seconds(20)));
  }
  EXPECT_LT(resident_kb(::getppid()) - before, kGrowthKbMax);
  // A second client reads on although the first does not, once that has gone.
  attached = {};
  CO_TRY_ASSIGN(attached, co_await node.runtime.attach("c1", false, true, false));
  std::array<std::byte, 65536> buffer;
  std::size_t bytes = 0;
  while (bytes < (4U << 20)) {
    CO_TRY_ASSIGN(std::size_t n, co_await attached.stdout_stream->read_some(buffer));
    CO_ASSERT_TRUE(n > 0);
    bytes += n;
  }
  options.args = {"sh", "-c", "yes | head -c 100000"};
  CO_TRY_ASSIGN(ExecSyncOutput capped, co_await node.runtime.exec_sync("c1", options, std::chrono::seconds(20), 1000));
  EXPECT_EQ(capped.stdout_text.size(), 1000U);
  unread.reset();
  co_return co_await node.runtime.remove("c1");
}

MONOPOD_NODE_TEST(C15Streams, ManyExecsLeaveNothing) {
  CO_TRY(co_await node.runtime.create("c1", node.config({"sleep", "1000"}), node.stdio("c1")));
  CO_TRY(co_await node.runtime.start("c1"));
  for (int i = 0; i < 200; ++i) {
    ExecOptions options;
    options.args = {"echo", "x"};
    CO_TRY_ASSIGN(ExecSyncOutput out, co_await node.runtime.exec_sync("c1", options, std::chrono::seconds(20)));
    EXPECT_EQ(out.stdout_text, "x\n");
  }
  CO_TRY_ASSIGN(std::vector<supervisor::Process> left, co_await node.supervisor.list());
  EXPECT_EQ(left.size(), 1U);
  co_return co_await node.runtime.remove("c1");
}

}  // namespace
}  // namespace monopod::container
