// v3lockpb.Lock: store/lock.h for clients that know no recipe of their own. Answers as etcd, whose Lock and Election services are
// clients of its KV: the refusals of KV keep their text and lose their code. A client that goes away takes its key along.
#include "store/lock.h"

#include "etcd/methods.h"

namespace monopod::etcd {

Error as_unknown(Error error) {
  switch (error.code()) {
    case Code::kNotFound:
    case Code::kInvalidArgument:
    case Code::kOutOfRange:
    case Code::kFailedPrecondition: return {Code::kUnknown, error.message()};
    default: return error;
  }
}

async::Task<Result<LeaseId>> session_lease(Context& context, std::int64_t asked) {
  if (asked != 0) co_return LeaseId(asked);
  CO_TRY_ASSIGN(Lease lease, co_await context.backend.lease_grant(kSessionTtl, LeaseId()));
  co_return lease.id;
}

namespace {

Answer lock(Context& context, std::string_view message) {
  std::string name;
  std::int64_t asked = 0;
  ProtoReader reader(message);
  for (;;) {
    CO_TRY_ASSIGN(bool more, reader.next());
    if (!more) break;
    if (reader.field() == 1) name = reader.text();
    if (reader.field() == 2) asked = reader.integer();
  }
  CO_TRY_ASSIGN(LeaseId lease, co_await session_lease(context, asked));
  Result<Lock> held = co_await acquire_lock(context.backend, std::move(name), lease);
  if (!held) co_return fail(as_unknown(held.error()));
  co_return ProtoWriter().message(1, format_header(held->revision)).bytes(2, held->key).take();
}

// Whoever knows the key may delete it: the call has no lease and no fence.
Answer unlock(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(DeleteRequest del, parse_delete(message));
  Txn txn;
  txn.success.emplace_back(DeleteRequest{.key = std::move(del.key)});
  Result<TxnResult> result = co_await context.backend.txn(std::move(txn));
  if (!result) co_return fail(as_unknown(result.error()));
  co_return ProtoWriter().message(1, format_header(result->revision)).take();
}

}  // namespace

std::span<const Method> lock_methods() {
  static constexpr Method kMethods[] = {
      {"/v3lockpb.Lock/Lock", needs_lock, lock},
      {"/v3lockpb.Lock/Unlock", needs_unlock, unlock},
  };
  return kMethods;
}

}  // namespace monopod::etcd
