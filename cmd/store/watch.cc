// `monopod store watch`.
#include <cstdio>

#include "base/strings.h"
#include "cmd/store/commands.h"
#include "cmd/store/output.h"
#include "cmd/store/remote.h"
#include "etcd/cluster/answers.h"
#include "etcd/txn_text.h"

namespace monopod::cmd {
namespace {

using async::Task;

constexpr std::chrono::milliseconds kPause{500};

struct WatchCommand {
  RemoteOptions remote;
  KeyRangeOptions range;
  std::int64_t revision = 0;
  std::int64_t count = 0;
  bool previous = false;
};

void print_event(const WatchCommand& command, const store::WatchEvent& event) {
  bool put = event.type == store::WatchEvent::Type::kPut;
  if (command.remote.output == "json") {
    json::Object out{{"type", put ? "put" : "delete"}, {"kv", describe_key_value(event.kv)}};
    if (event.prev) out["prev_kv"] = describe_key_value(*event.prev);
    print_json(out);
    return;
  }
  print_line(put ? "PUT" : "DELETE");
  if (event.prev) {
    print_line(event.prev->key);
    print_line(event.prev->value ? *event.prev->value : std::string());
  }
  print_line(event.kv.key);
  print_line(event.kv.value ? *event.kv.value : std::string());
}

class Watching {
 public:
  Watching(Remote& remote, const WatchCommand& command, etcd::ParsedRange range) : remote_(remote), command_(command), range_(std::move(range)), next_(command.revision) {}

  // Until enough was shown, or for ever. A stream that is lost begins again where it ended.
  Task<Result<>> run() {
    for (;;) {
      Result<> ended = co_await run_stream();
      if (ended || ended.error().code() != Code::kUnavailable || next_ == 0) co_return ended;
      std::fprintf(stderr, "store watch: %s; going on from revision %lld\n", ended.error().message().c_str(), static_cast<long long>(next_));
      CO_TRY(co_await remote_.time.sleep_for(kPause));
    }
  }

 private:
  Task<Result<>> run_stream() {
    CO_TRY_ASSIGN(std::unique_ptr<etcd::Stream> stream, co_await remote_.client->open("/etcdserverpb.Watch/Watch"));
    std::string create = etcd::format_watch_create({.id = 0, .key = range_.key, .range_end = range_.range_end, .start = store::Revision(next_), .prev_kv = command_.previous});
    CO_TRY(co_await stream->write(create));
    for (;;) {  // forever: changes come when they come
      CO_TRY_ASSIGN(std::optional<std::string> message, co_await stream->read());
      if (!message) co_return fail(Code::kUnavailable, "the server ended the stream");
      CO_TRY_ASSIGN(etcd::WatchAnswer answer, etcd::parse_watch_answer(*message));
      if (answer.canceled) co_return refusal(answer);
      if (next_ == 0) next_ = answer.revision.value + 1;  // created: from here on nothing is missed
      for (const store::WatchEvent& event : answer.events) {
        print_event(command_, event);
        if (command_.count > 0 && ++shown_ == command_.count) co_return Result<>();
      }
      if (!answer.events.empty() && !answer.fragment) next_ = answer.events.back().kv.mod.value + 1;
      std::fflush(stdout);
    }
  }
  static Result<> refusal(const etcd::WatchAnswer& answer) {
    if (answer.compact_revision.value > 0) return fail(Code::kOutOfRange, cat("revisions before ", answer.compact_revision.value, " are compacted: start there, or read the present state"));
    return fail(Code::kFailedPrecondition, answer.cancel_reason.empty() ? "the server ended the watch" : answer.cancel_reason);
  }

  Remote& remote_;
  const WatchCommand& command_;
  const etcd::ParsedRange range_;
  std::int64_t next_;  // first revision not shown; 0: from now on
  std::int64_t shown_ = 0;
};

Task<Result<>> watch(Remote& remote, const WatchCommand& command) {
  CO_TRY_ASSIGN(etcd::ParsedRange range, etcd::parse_key_range({.key = command.range.key, .range_end = command.range.range_end, .prefix = command.range.prefix, .from_key = command.range.from_key}));
  Watching watching(remote, command, std::move(range));
  co_return co_await watching.run();
}

}  // namespace

void add_store_watch(CLI::App& store, Invocation& invocation) {
  CLI::App* app = add_command(store, "watch", "Show changes as they happen, until interrupted",
                              "  monopod store watch --prefix /app/\n"
                              "  monopod store watch greeting --rev 2 --prev-kv\n"
                              "  sudo monopod store watch --data-dir /var/lib/monopod --prefix /registry/core/pods/ -o json | jq .kv.key");
  auto command = std::make_shared<WatchCommand>();
  add_key_range(*app, command->range);
  app->add_option("--rev", command->revision, "Begin with this revision (default: with what comes next)")->check(CLI::NonNegativeNumber);
  app->add_flag("--prev-kv", command->previous, "Show what was there before each change too");
  app->add_option("--count", command->count, "End after so many changes")->check(CLI::NonNegativeNumber);
  add_remote_options(*app, command->remote);
  app->callback([command, &invocation] {
    invocation.run = [command] { return run_remote("watch", command->remote, [&](Remote& remote) { return watch(remote, *command); }); };
  });
}

}  // namespace monopod::cmd
