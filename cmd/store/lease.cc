// `monopod store lease grant|revoke|keep-alive|timetolive|list`. The answers read as etcdctl's.
#include <cstdio>

#include "base/duration.h"
#include "base/strings.h"
#include "cmd/store/commands.h"
#include "cmd/store/output.h"
#include "cmd/store/remote.h"
#include "codec/proto_wire.h"

namespace monopod::cmd {
namespace {

using async::Task;

struct LeaseCommand {
  RemoteOptions remote;
  std::string ttl;
  std::string id;
  bool keys = false, once = false;
};

// Of etcd's lease messages: id stands in field 2 of answers, time to live in 3, as granted in 4, keys in 5.
struct LeaseAnswer {
  store::LeaseId id{};
  std::int64_t ttl_s = 0, granted_s = 0;
  std::vector<std::string> keys{};
};
Result<LeaseAnswer> parse_lease_answer(std::string_view message) {
  LeaseAnswer answer;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return answer;
    if (reader.field() == 2) answer.id = store::LeaseId(reader.integer());
    if (reader.field() == 3) answer.ttl_s = reader.integer();
    if (reader.field() == 4) answer.granted_s = reader.integer();
    if (reader.field() == 5) answer.keys.emplace_back(reader.bytes());
  }
}

// "60" is seconds, as etcdctl has it.
Result<std::int64_t> parse_ttl(const std::string& text) {
  if (auto seconds = parse_int<std::int64_t>(text)) return *seconds;
  TRY_ASSIGN(Duration ttl, parse_duration(text));
  return std::chrono::duration_cast<std::chrono::seconds>(ttl).count();
}

Task<Result<>> grant(Remote& remote, const LeaseCommand& command) {
  CO_TRY_ASSIGN(std::int64_t ttl_s, parse_ttl(command.ttl));
  store::LeaseId id;
  if (!command.id.empty()) {
    CO_TRY_ASSIGN(id, parse_lease_id(command.id));
  }
  CO_TRY_ASSIGN(std::string answer, co_await remote.client->call("/etcdserverpb.Lease/LeaseGrant", ProtoWriter().integer(1, ttl_s).integer(2, id.value).take(), etcd::Repeat::kUnsafe));
  CO_TRY_ASSIGN(LeaseAnswer lease, parse_lease_answer(answer));
  if (command.remote.output == "json") print_json(json::Object{{"id", format_lease_id(lease.id)}, {"ttl_s", lease.ttl_s}});
  else std::printf("lease %s granted with TTL(%llds)\n", format_lease_id(lease.id).c_str(), static_cast<long long>(lease.ttl_s));
  co_return Result<>();
}

Task<Result<>> revoke(Remote& remote, const LeaseCommand& command) {
  CO_TRY_ASSIGN(store::LeaseId id, parse_lease_id(command.id));
  CO_TRY(co_await remote.client->call("/etcdserverpb.Lease/LeaseRevoke", ProtoWriter().integer(1, id.value).take(), etcd::Repeat::kUnsafe));
  if (command.remote.output == "json") print_json(json::Object{{"id", format_lease_id(id)}, {"revoked", true}});
  else std::printf("lease %s revoked\n", format_lease_id(id).c_str());
  co_return Result<>();
}

Task<Result<>> keep_alive(Remote& remote, const LeaseCommand& command) {
  CO_TRY_ASSIGN(store::LeaseId id, parse_lease_id(command.id));
  CO_TRY_ASSIGN(std::unique_ptr<etcd::Stream> stream, co_await remote.client->open("/etcdserverpb.Lease/LeaseKeepAlive"));
  for (;;) {  // forever: as long as the user wants the lease
    CO_TRY(co_await stream->write(ProtoWriter().integer(1, id.value).str()));
    CO_TRY_ASSIGN(std::optional<std::string> message, co_await stream->read());
    if (!message) co_return fail(Code::kUnavailable, "the server ended the stream");
    CO_TRY_ASSIGN(LeaseAnswer lease, parse_lease_answer(*message));
    if (lease.ttl_s <= 0) co_return fail(Code::kNotFound, cat("lease ", format_lease_id(id), " expired or revoked"));
    if (command.remote.output == "json") print_json(json::Object{{"id", format_lease_id(id)}, {"ttl_s", lease.ttl_s}});
    else std::printf("lease %s keepalived with TTL(%lld)\n", format_lease_id(id).c_str(), static_cast<long long>(lease.ttl_s));
    std::fflush(stdout);
    if (command.once) co_return Result<>();
    CO_TRY(co_await remote.time.sleep_for(std::max(std::chrono::milliseconds(500), std::chrono::milliseconds(lease.ttl_s * 1000 / 3))));
  }
}

void print_lease(const LeaseCommand& command, store::LeaseId id, const LeaseAnswer& lease) {
  if (command.remote.output == "json") {
    json::Object out{{"id", format_lease_id(id)}, {"ttl_s", lease.granted_s}, {"remaining_s", lease.ttl_s}};
    json::Array keys;
    for (const std::string& key : lease.keys) keys.push_back(json::Value(key));
    if (command.keys) out["keys"] = std::move(keys);
    print_json(out);
    return;
  }
  if (lease.ttl_s < 0) {
    print_line(cat("lease ", format_lease_id(id), " already expired"));
    return;
  }
  std::string line = cat("lease ", format_lease_id(id), " granted with TTL(", lease.granted_s, "s), remaining(", lease.ttl_s, "s)");
  if (command.keys) line += cat(", attached keys([", join(lease.keys, " "), "])");
  print_line(line);
}

Task<Result<>> time_to_live(Remote& remote, const LeaseCommand& command) {
  CO_TRY_ASSIGN(store::LeaseId id, parse_lease_id(command.id));
  CO_TRY_ASSIGN(std::string answer, co_await remote.client->call("/etcdserverpb.Lease/LeaseTimeToLive", ProtoWriter().integer(1, id.value).boolean(2, command.keys).take(), etcd::Repeat::kSafe));
  CO_TRY_ASSIGN(LeaseAnswer lease, parse_lease_answer(answer));
  print_lease(command, id, lease);
  co_return Result<>();
}

Task<Result<>> list(Remote& remote, const LeaseCommand& command) {
  CO_TRY_ASSIGN(std::string answer, co_await remote.client->call("/etcdserverpb.Lease/LeaseLeases", "", etcd::Repeat::kSafe));
  std::vector<std::string> ids;
  for (ProtoReader reader(answer);;) {
    CO_TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    if (reader.field() != 2) continue;
    ProtoReader lease(reader.bytes());
    CO_TRY_ASSIGN(bool has_id, lease.next());
    if (has_id && lease.field() == 1) ids.push_back(format_lease_id(store::LeaseId(lease.integer())));
  }
  if (command.remote.output == "json") {
    json::Array out;
    for (const std::string& id : ids) out.push_back(json::Value(id));
    print_json(json::Object{{"leases", std::move(out)}});
    co_return Result<>();
  }
  std::printf("found %zu leases\n", ids.size());
  for (const std::string& id : ids) std::printf("%s\n", id.c_str());
  co_return Result<>();
}

using LeaseVerb = Task<Result<>> (*)(Remote&, const LeaseCommand&);

}  // namespace

void add_store_lease(CLI::App& store, Invocation& invocation) {
  CLI::App* app = add_command(store, "lease", "Leases: keys that go when nobody keeps them alive",
                              "  monopod store lease grant 60\n"
                              "  monopod store put worker/1 alive --lease 694d5765fc71500b\n"
                              "  monopod store lease keep-alive 694d5765fc71500b\n"
                              "  monopod store lease timetolive 694d5765fc71500b --keys");
  app->require_subcommand(1);
  auto command = std::make_shared<LeaseCommand>();
  auto add = [&](const char* name, const char* summary, LeaseVerb verb) {
    CLI::App* sub = app->add_subcommand(name, summary);
    sub->callback([command, name, verb, &invocation] {
      invocation.run = [command, name, verb] { return run_remote(cat("lease ", name), command->remote, [&](Remote& remote) { return verb(remote, *command); }); };
    });
    return sub;
  };
  auto add_id = [&](CLI::App* sub) { sub->add_option("id", command->id, "Lease (hex)")->required(); };
  CLI::App* grant_app = add("grant", "Make a lease", grant);
  grant_app->add_option("ttl", command->ttl, "Seconds, or a duration such as 5m")->required();
  grant_app->add_option("--id", command->id, "Its id (hex); the server picks one where it is missing");
  add_remote_options(*grant_app, command->remote);
  CLI::App* revoke_app = add("revoke", "End a lease now; its keys go", revoke);
  add_id(revoke_app);
  add_remote_options(*revoke_app, command->remote);
  CLI::App* keep_app = add("keep-alive", "Renew a lease, until interrupted", keep_alive);
  add_id(keep_app);
  keep_app->add_flag("--once", command->once, "Once only");
  add_remote_options(*keep_app, command->remote);
  CLI::App* show_app = add("timetolive", "Show a lease", time_to_live);
  add_id(show_app);
  show_app->add_flag("--keys", command->keys, "And the keys that hang on it");
  add_remote_options(*show_app, command->remote);
  add_remote_options(*add("list", "Show all leases", list), command->remote);
}

}  // namespace monopod::cmd
