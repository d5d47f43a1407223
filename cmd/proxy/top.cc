// `monopod proxy top`: what a proxy does now, asked over its admin socket.
#include <sys/ioctl.h>
#include <unistd.h>

#include "async/broken_pipe.h"
#include "async/loop.h"
#include "async/scope.h"
#include "async/time.h"
#include "base/duration.h"
#include "base/strings.h"
#include "cmd/commands.h"
#include "http/client.h"
#include "proxy/observe/table.h"

namespace monopod::cmd {
namespace {

using async::Task;

constexpr std::size_t kMetricsBytesMax = 64U << 20;

struct TopCommand {
  std::string admin = "/run/monopod-proxy.sock";
  std::string interval = "1s";
  bool once = false;
};

Task<Result<std::string>> read_metrics(http::Client& client) {
  Result<http::Response> response = co_await client.request({.target = "/metrics", .timeout = std::chrono::seconds(10)});
  if (!response) co_return fail(std::move(response).error().with("talk to the proxy (is it running, and is this its admin socket?)"));
  if (response->status != 200) co_return fail(code_of_http_status(response->status), cat("the proxy answers ", response->status));
  co_return co_await response->body->read_all(kMetricsBytesMax);
}

struct Size {
  std::size_t columns = 1'000, rows = 1'000;
};

// Of the terminal; else all there is.
Size terminal_size() {
  struct winsize size {};
  if (::isatty(STDOUT_FILENO) != 1 || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row < 3) return {};
  return {size.ws_col, static_cast<std::size_t>(size.ws_row) - 1};
}

Task<Result<>> show(const TopCommand& command, async::Executor executor, async::Time& time, Duration interval) {
  async::Scope scope(executor);
  http::Client client(scope, executor, time, {.endpoint = {.unix_path = command.admin}});
  std::string before, now;
  MonoTime at{};
  for (;;) {
    CO_TRY_ASSIGN(now, co_await read_metrics(client));
    MonoTime then = std::exchange(at, time.mono());
    if (!before.empty()) {
      auto [columns, rows] = terminal_size();
      std::string table = proxy::format_top(before, now, at - then, columns, rows);
      std::printf("%s%s", ::isatty(STDOUT_FILENO) == 1 ? "\x1b[H\x1b[2J" : "", table.c_str());
      if (!command.once && ::isatty(STDOUT_FILENO) != 1) std::fputs("\n", stdout);
      std::fflush(stdout);
      if (command.once) break;
    }
    before = std::move(now);
    CO_TRY(co_await time.sleep_for(interval));  // forever, in sum: the user ends it
  }
  co_return Result<>();
}

Result<> run(const TopCommand& command) {
  TRY_ASSIGN(Duration interval, parse_duration(command.interval));
  if (interval < std::chrono::milliseconds(10)) return fail(Code::kInvalidArgument, "--interval: want 10ms or more");
  async::ignore_broken_pipes();
  async::Loop loop;
  async::RealTime time;
  return loop.run(show(command, loop.executor(), time, interval));
}

}  // namespace

void add_proxy_top(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "top", "Show what a proxy does: rates of listeners, clusters and routes, again every interval",
                              "  monopod proxy top --admin /run/monopod-proxy.sock\n  monopod proxy top --once --interval 5s");
  auto command = std::make_shared<TopCommand>();
  app->add_option("--admin", command->admin, "The proxy's admin socket")->capture_default_str();
  app->add_option("--interval", command->interval, "Between two readings")->capture_default_str();
  app->add_flag("--once", command->once, "Read twice, show once, and end");
  app->callback([command, &invocation] { invocation.run = [command] { return report(run(*command)); }; });
}

}  // namespace monopod::cmd
