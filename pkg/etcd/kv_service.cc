// KV: ranges, writes, transactions, compaction.
#include "etcd/methods.h"

namespace monopod::etcd {
namespace {

Answer range(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(Range range, parse_range(message));
  CO_TRY_ASSIGN(RangeResult result, co_await context.backend.range(std::move(range.request)));
  Revision header = result.revision;
  co_return format_range(header, std::move(result), range.shape);
}

Answer put(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(PutRequest put, parse_put(message));
  Txn txn;
  txn.success.emplace_back(std::move(put));
  CO_TRY_ASSIGN(TxnResult result, co_await context.backend.txn(std::move(txn)));
  co_return format_put(result.revision, std::get<PutResult>(result.results.at(0)));
}

Answer delete_range(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(DeleteRequest del, parse_delete(message));
  Txn txn;
  txn.success.emplace_back(std::move(del));
  CO_TRY_ASSIGN(TxnResult result, co_await context.backend.txn(std::move(txn)));
  co_return format_delete(result.revision, std::get<DeleteResult>(result.results.at(0)));
}

Answer txn(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(ParsedTxn parsed, parse_txn(message));
  CO_TRY_ASSIGN(TxnResult result, co_await context.backend.txn(std::move(parsed.txn)));
  co_return format_txn(result, parsed.shape);
}

Answer compact(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(std::int64_t revision, parse_integer(message, 1));
  CO_TRY_ASSIGN(std::int64_t physical, parse_integer(message, 2));
  CO_TRY(co_await context.backend.compact(Revision(revision)));
  if (physical && context.options.sqlite) CO_TRY(co_await context.options.sqlite->finish_compaction());
  co_return ProtoWriter().message(1, format_header(context.backend.current_revision())).take();
}

}  // namespace

std::span<const Method> kv_methods() {
  static constexpr Method kMethods[] = {
      {"/etcdserverpb.KV/Range", needs_range, range},
      {"/etcdserverpb.KV/Put", needs_put, put},
      {"/etcdserverpb.KV/DeleteRange", needs_delete, delete_range},
      {"/etcdserverpb.KV/Txn", needs_txn, txn},
      {"/etcdserverpb.KV/Compact", needs_root, compact},
  };
  return kMethods;
}

}  // namespace monopod::etcd
