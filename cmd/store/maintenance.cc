// `monopod store compact|defrag`.
#include <cstdio>

#include "base/strings.h"
#include "cmd/store/commands.h"
#include "cmd/store/output.h"
#include "cmd/store/remote.h"
#include "codec/proto_wire.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using async::Task;

struct MaintenanceCommand {
  RemoteOptions remote;
  std::int64_t revision = 0;
  bool physical = false;
};

Task<Result<>> compact(Remote& remote, const MaintenanceCommand& command) {
  CO_TRY(co_await remote.client->call("/etcdserverpb.KV/Compact", ProtoWriter().integer(1, command.revision).boolean(2, command.physical).take(), etcd::Repeat::kUnsafe));
  if (command.remote.output == "json") print_json(json::Object{{"compacted", command.revision}});
  else std::printf("compacted revision %lld\n", static_cast<long long>(command.revision));
  co_return Result<>();
}

Task<Result<std::int64_t>> file_bytes(Remote& remote, std::size_t endpoint) {
  CO_TRY_ASSIGN(std::string answer, co_await remote.client->call("/etcdserverpb.Maintenance/Status", "", etcd::Repeat::kSafe, {.endpoint = endpoint}));
  for (ProtoReader reader(answer);;) {
    CO_TRY_ASSIGN(bool more, reader.next());
    if (!more) co_return 0;
    if (reader.field() == 3) co_return reader.integer();
  }
}

Task<Result<>> defragment(Remote& remote, const MaintenanceCommand& command) {
  std::vector<etcd::EndpointStatus> endpoints = remote.client->endpoints();
  json::Array all;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    CO_TRY_ASSIGN(std::int64_t before, co_await file_bytes(remote, i));
    Result<std::string> done = co_await remote.client->call("/etcdserverpb.Maintenance/Defragment", "", etcd::Repeat::kUnsafe, {.endpoint = i});
    if (!done) co_return fail(std::move(done).error().with(endpoints[i].url));
    CO_TRY_ASSIGN(std::int64_t after, co_await file_bytes(remote, i));
    if (command.remote.output == "json") all.push_back(json::Object{{"endpoint", endpoints[i].url}, {"bytes_before", before}, {"bytes_after", after}});
    else std::printf("defragmented %s: %s, was %s\n", endpoints[i].url.c_str(), sys::format_size(after).c_str(), sys::format_size(before).c_str());
  }
  if (command.remote.output == "json") print_json(all);
  co_return Result<>();
}

}  // namespace

void add_store_maintenance(CLI::App& store, Invocation& invocation) {
  auto compaction = std::make_shared<MaintenanceCommand>();
  CLI::App* compact_app = add_command(store, "compact", "Forget every state before a revision",
                                      "  monopod store compact 1234\n"
                                      "  monopod store compact $(monopod store status -o json | jq .[0].revision)");
  compact_app->add_option("revision", compaction->revision, "The oldest revision that can still be read afterwards")->required()->check(CLI::PositiveNumber);
  compact_app->add_flag("--physical", compaction->physical, "Return when the room is free, not only when the loss is recorded");
  add_remote_options(*compact_app, compaction->remote);
  compact_app->callback([compaction, &invocation] {
    invocation.run = [compaction] { return run_remote("compact", compaction->remote, [&](Remote& remote) { return compact(remote, *compaction); }); };
  });

  auto defrag = std::make_shared<MaintenanceCommand>();
  defrag->remote.timeout = "10m";
  CLI::App* defrag_app = add_command(store, "defrag", "Give free pages of the file back to the file system",
                                     "  monopod store defrag\n"
                                     "  monopod store defrag --endpoints unix:/run/store.sock --timeout 10m");
  add_remote_options(*defrag_app, defrag->remote);
  defrag_app->callback([defrag, &invocation] {
    invocation.run = [defrag] { return run_remote("defrag", defrag->remote, [&](Remote& remote) { return defragment(remote, *defrag); }); };
  });
}

}  // namespace monopod::cmd
