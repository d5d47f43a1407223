// v3electionpb.Election: store/election.h for clients that know no recipe of their own.
#include "store/election.h"

#include "etcd/methods.h"

namespace monopod::etcd {
namespace {

using async::Task;

struct ElectionMessage {
  std::string name{};
  std::int64_t lease = 0;
  std::string value{};
  std::optional<Leadership> leader{};
};

Result<Leadership> parse_leader(std::string_view message) {
  Leadership leader;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return leader;
    if (reader.field() == 2) leader.key = reader.text();
    if (reader.field() == 3) leader.create = Revision(reader.integer());
    if (reader.field() == 4) leader.lease = LeaseId(reader.integer());
  }
}

// CampaignRequest: name = 1, lease = 2, value = 3.
Result<ElectionMessage> parse_campaign(std::string_view message) {
  ElectionMessage parsed;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return parsed;
    if (reader.field() == 1) parsed.name = reader.text();
    if (reader.field() == 2) parsed.lease = reader.integer();
    if (reader.field() == 3) parsed.value = reader.text();
  }
}

// ProclaimRequest and ResignRequest: leader = 1, value = 2.
Result<ElectionMessage> parse_leadership(std::string_view message) {
  ElectionMessage parsed;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    if (reader.field() == 1) {
      TRY_ASSIGN(parsed.leader, parse_leader(reader.bytes()));
    }
    if (reader.field() == 2) parsed.value = reader.text();
  }
  if (!parsed.leader) return fail(Code::kUnknown, "\"leader\" field must be provided");
  return parsed;
}

std::string only_header(Revision revision) { return ProtoWriter().message(1, format_header(revision)).take(); }

std::string format_leader(const LeaderSeen& seen) {
  return ProtoWriter().message(1, format_header(seen.revision)).message(2, format_key_value(*seen.kv)).take();
}

Answer run_campaign(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(ElectionMessage asked, parse_campaign(message));
  CO_TRY_ASSIGN(LeaseId lease, co_await session_lease(context, asked.lease));
  Result<Leadership> won = co_await campaign(context.backend, asked.name, lease, share(std::move(asked.value)));
  if (!won) co_return fail(as_unknown(won.error()));
  ProtoWriter leader;
  leader.bytes(1, asked.name).bytes(2, won->key).integer(3, won->create.value).integer(4, lease.value);
  co_return ProtoWriter().message(1, format_header(won->revision)).message(2, leader.str()).take();
}

Answer run_proclaim(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(ElectionMessage asked, parse_leadership(message));
  Result<Revision> revision = co_await proclaim(context.backend, std::move(*asked.leader), share(std::move(asked.value)));
  if (!revision) co_return fail(as_unknown(revision.error()));
  co_return only_header(*revision);
}

Answer run_resign(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(ElectionMessage asked, parse_leadership(message));
  Result<Revision> revision = co_await resign(context.backend, std::move(*asked.leader));
  if (!revision) co_return fail(as_unknown(revision.error()));
  co_return only_header(*revision);
}

Answer leader(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(ElectionMessage asked, parse_campaign(message));
  Result<LeaderSeen> seen = co_await find_leader(context.backend, std::move(asked.name));
  if (!seen) co_return fail(as_unknown(seen.error()));
  if (!seen->kv) co_return fail(Code::kUnknown, "election: no leader");
  co_return format_leader(*seen);
}

// Until the client goes away.
Task<Result<>> observe(Context& context, http::GrpcServerCall& call) {
  Result<std::optional<std::string>> message = co_await call.read();
  if (!message) co_return co_await call.finish(fail(message.error()));
  Result<ElectionMessage> asked = parse_campaign(message->value_or(""));
  if (!asked) co_return co_await call.finish(fail(asked.error()));
  Observer observer(context.backend, std::move(asked->name));
  for (;;) {
    Result<LeaderSeen> seen = co_await observer.next();  // forever: there may be no leader
    if (!seen) co_return co_await call.finish(fail(as_unknown(seen.error())));
    CO_TRY(co_await call.write(format_leader(*seen)));
  }
}

}  // namespace

std::span<const Method> election_methods() {
  static constexpr Method kMethods[] = {
      {"/v3electionpb.Election/Campaign", needs_lock, run_campaign},
      {"/v3electionpb.Election/Proclaim", needs_leadership, run_proclaim},
      {"/v3electionpb.Election/Leader", needs_leader, leader},
      {"/v3electionpb.Election/Resign", needs_leadership, run_resign},
  };
  return kMethods;
}

std::span<const StreamMethod> election_streams() {
  static constexpr StreamMethod kStreams[] = {{"/v3electionpb.Election/Observe", needs_leader, observe}};
  return kStreams;
}

}  // namespace monopod::etcd
