// Cold create+start+wait+delete of /bin/true: wall and CPU of node, supervisor and container together, per container.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "async/test_support.h"
#include "base/strings.h"
#include "container/node_support.h"
#include "sys/root.h"

namespace monopod::container {
namespace {

constexpr int kRounds = 50;
constexpr int kAtOnce = 50;

// utime + stime of a process and of its reaped children, in microseconds.
std::int64_t cpu_us(int pid) {
  std::string text = sys::read_host_file(cat("/proc/", pid, "/stat")).value();
  auto fields = split(std::string_view(text).substr(text.rfind(')') + 2), ' ');
  std::int64_t ticks = 0;
  for (std::size_t i = 11; i < 15; ++i) ticks += parse_int<std::int64_t>(fields[i]).value_or(0);
  return ticks * 1'000'000 / ::sysconf(_SC_CLK_TCK);
}

async::Task<Result<>> one(testing_support::NodeCase& node, std::string id, bool network) {
  ContainerConfig config = node.config({"true"});
  config.cgroup_path = cat(node.group, "/", id);
  if (!network) std::erase_if(config.namespaces, [](const Namespace& ns) { return ns.type == NamespaceType::kNetwork; });
  CO_TRY(co_await node.run_container(std::move(id), std::move(config)));
  co_return Result<>();
}

MONOPOD_NODE_TEST(ContainerBench, RunTrue) {
  for (bool network : {true, false}) {
    CO_TRY(co_await one(node, "warm", network));
    std::vector<double> wall_ms;
    std::int64_t cpu_before = cpu_us(::getpid()) + cpu_us(::getppid());
    for (int i = 0; i < kRounds; ++i) {
      MonoTime start = node.time.mono();
      CO_TRY(co_await one(node, "c1", network));
      wall_ms.push_back(std::chrono::duration<double, std::milli>(node.time.mono() - start).count());
    }
    double cpu_ms = static_cast<double>(cpu_us(::getpid()) + cpu_us(::getppid()) - cpu_before) / 1000 / kRounds;
    std::sort(wall_ms.begin(), wall_ms.end());
    std::printf("run true, network namespace %s: wall min %.1f median %.1f p90 %.1f ms, cpu %.1f ms\n", network ? "new" : "shared", wall_ms.front(),
                wall_ms[kRounds / 2], wall_ms[kRounds * 9 / 10], cpu_ms);
  }
  MonoTime start = node.time.mono();
  async::Scope scope(node.loop.executor());
  for (int i = 0; i < kAtOnce; ++i) scope.spawn(one(node, cat("many", i), true));
  CO_TRY(co_await scope.join());
  std::printf("%d at once, create to delete: %.2f s\n", kAtOnce, std::chrono::duration<double>(node.time.mono() - start).count());
  auto memory = sys::read_host_file(cat("/proc/", ::getppid(), "/smaps_rollup"));
  for (std::string_view line : split(memory.value_or(""), '\n')) {
    if (line.starts_with("Pss:") || line.starts_with("Rss:")) std::printf("supervisor %s\n", std::string(line).c_str());
  }
  co_return Result<>();
}

}  // namespace
}  // namespace monopod::container
