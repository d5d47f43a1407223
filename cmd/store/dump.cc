// `monopod store dump`: keys as JSON lines, from a file that nobody has open or from a running store.
#include <cstdio>

#include "base/strings.h"
#include "cmd/store/commands.h"
#include "cmd/store/output.h"
#include "cmd/store/remote.h"
#include "etcd/cluster/answers.h"
#include "store/offline.h"

namespace monopod::cmd {
namespace {

using async::Task;

struct DumpCommand {
  RemoteOptions remote;
  std::string file;
  std::string prefix;
  std::int64_t revision = 0;
  bool keys_only = false, history = false;
};

struct Bounds {
  std::string key, range_end;
};
Bounds bounds_of(const DumpCommand& command) {
  std::string end = store::prefix_end(command.prefix);
  return {.key = command.prefix.empty() ? std::string(1, '\0') : command.prefix, .range_end = std::move(end)};
}

Result<> print_row(const DumpCommand& command, store::KeyValue kv, bool deleted) {
  if (command.keys_only) kv.value = nullptr;
  json::Object out;
  if (command.history) out["type"] = deleted ? "delete" : "put";
  for (auto& [name, value] : describe_key_value(kv))
    if (!deleted || name == "key" || name == "key_base64" || name == "mod_revision") out[name] = std::move(value);
  print_json(out);
  if (std::ferror(stdout) != 0) return fail(Code::kUnavailable, "standard output is closed");
  return {};
}

Result<> dump_file(const DumpCommand& command) {
  Bounds bounds = bounds_of(command);
  store::ExportOptions options{.key = std::move(bounds.key), .range_end = std::move(bounds.range_end), .keys_only = command.keys_only, .history = command.history, .revision = store::Revision(command.revision)};
  TRY(store::export_file(command.file, options, [&command](const store::ExportRow& row) { return print_row(command, row.kv, row.deleted); }));
  if (std::fflush(stdout) != 0) return fail_errno("write to standard output");
  return {};
}

Task<Result<store::Revision>> dump_state(Remote& remote, const DumpCommand& command, std::int64_t revision) {
  Bounds bounds = bounds_of(command);
  store::RangeRequest request{.key = std::move(bounds.key), .range_end = std::move(bounds.range_end), .revision = store::Revision(revision), .keys_only = command.keys_only};
  CO_TRY_ASSIGN(store::RangeResult all, co_await remote.range_pages(std::move(request), [&command](const store::RangeResult& page) -> Result<> {
    for (const store::KeyValue& kv : page.kvs) TRY(print_row(command, kv, false));
    return {};
  }));
  co_return all.revision;
}

// Every change that the server still has: the state at its compaction, then a watch from there up to what was the newest at the start.
class History {
 public:
  History(Remote& remote, const DumpCommand& command) : remote_(remote), command_(command) {}

  Task<Result<>> run() {
    CO_TRY_ASSIGN(store::RangeResult now, co_await remote_.range({.key = std::string(1, '\0'), .count_only = true}));
    last_ = command_.revision > 0 ? command_.revision : now.revision.value;
    if (last_ > now.revision.value) co_return fail(Code::kOutOfRange, cat("revision ", last_, ": the newest is ", now.revision.value));
    CO_TRY(co_await follow(1));
    if (compacted_ > 0) {
      CO_TRY(co_await dump_state(remote_, command_, compacted_));
      CO_TRY(co_await follow(compacted_ + 1));
    }
    co_return Result<>();
  }

 private:
  // Until everything up to last_ was shown, or compacted_ is known to be in the way.
  Task<Result<>> follow(std::int64_t from) {
    compacted_ = 0;
    if (from > last_) co_return Result<>();
    Bounds bounds = bounds_of(command_);
    CO_TRY_ASSIGN(std::unique_ptr<etcd::Stream> stream, co_await remote_.client->open("/etcdserverpb.Watch/Watch"));
    std::string create = etcd::format_watch_create({.key = bounds.key, .range_end = bounds.range_end, .start = store::Revision(from)});
    CO_TRY(co_await stream->write(create));
    for (;;) {  // until the newest revision has come by; the stream fails when the server goes
      CO_TRY_ASSIGN(std::optional<std::string> message, co_await stream->read());
      if (!message) co_return fail(Code::kUnavailable, "the server ended the stream");
      CO_TRY_ASSIGN(etcd::WatchAnswer answer, etcd::parse_watch_answer(*message));
      compacted_ = answer.compact_revision.value;
      if (answer.canceled && compacted_ > 0) co_return Result<>();
      if (answer.canceled) co_return fail(Code::kFailedPrecondition, answer.cancel_reason);
      for (const store::WatchEvent& event : answer.events) {
        if (event.kv.mod.value > last_) co_return Result<>();
        CO_TRY(print_row(command_, event.kv, event.type == store::WatchEvent::Type::kDelete));
      }
      if (!answer.created && answer.events.empty() && answer.revision.value >= last_) co_return Result<>();
      std::string progress = ProtoWriter().message(3, "").take();  // "say when everything has been sent"
      CO_TRY(co_await stream->write(progress));
    }
  }

  Remote& remote_;
  const DumpCommand& command_;
  std::int64_t last_ = 0, compacted_ = 0;
};

Task<Result<>> dump_remote(Remote& remote, const DumpCommand& command) {
  if (!command.history) {
    CO_TRY(co_await dump_state(remote, command, command.revision));
    co_return Result<>();
  }
  History history(remote, command);
  co_return co_await history.run();
}

}  // namespace

void add_store_dump(CLI::App& store, Invocation& invocation) {
  CLI::App* app = add_command(store, "dump", "Print keys as JSON lines: now, at a revision, or the whole history",
                              "  monopod store dump --prefix /app/ > app.jsonl\n"
                              "  sudo monopod store dump --data-dir /var/lib/monopod --rev 1234 | jq .key\n"
                              "  monopod store dump --file /mnt/card/state.db --history\n"
                              "\n"
                              "Bytes that are no UTF-8 stand as base64 in key_base64 and value_base64.");
  auto command = std::make_shared<DumpCommand>();
  app->add_option("--file", command->file, "A database file that nobody has open, read without changing it");
  app->add_option("--prefix", command->prefix, "Only keys that begin with this");
  app->add_option("--rev", command->revision, "As it was at this revision; with --history: up to it")->check(CLI::NonNegativeNumber);
  app->add_flag("--keys-only", command->keys_only, "No values");
  app->add_flag("--history", command->history, "Every change that is still there, by revision");
  add_remote_options(*app, command->remote);
  app->callback([command, &invocation] {
    invocation.run = [command] {
      if (!command->file.empty()) return report_store("dump", dump_file(*command));
      return run_remote("dump", command->remote, [&](Remote& remote) { return dump_remote(remote, *command); });
    };
  });
}

}  // namespace monopod::cmd
