#include "store/backend.h"

#include "base/strings.h"

namespace monopod::store {
namespace {

Txn guarded(std::string key, Revision expected, Op op) {
  Txn txn;
  RangeRequest read{.key = key, .keys_only = true};
  txn.compare.push_back({.key = std::move(key), .target = Compare::Target::kMod, .number = expected.value});
  txn.success.push_back(std::move(op));
  txn.failure.push_back(std::move(read));
  return txn;
}

// Why a guarded write of an existing key did not happen.
Error conflict(const TxnResult& result, const std::string& key, Revision expected) {
  const auto& found = std::get<RangeResult>(result.results.at(0)).kvs;
  if (found.empty()) return Error(Code::kNotFound, cat("key ", key, " does not exist"));
  return Error(Code::kAborted, cat("key ", key, " is at revision ", found[0].mod.value, ", not ", expected.value));
}

}  // namespace

async::Task<Result<Revision>> Backend::create(std::string key, SharedBytes value, LeaseId lease) {
  Txn request = guarded(key, Revision(0), PutRequest{.key = key, .value = std::move(value), .lease = lease});
  CO_TRY_ASSIGN(TxnResult result, co_await txn(std::move(request)));
  if (!result.succeeded) co_return fail(Code::kAlreadyExists, cat("key ", key, " exists"));
  co_return result.revision;
}

async::Task<Result<Revision>> Backend::update(std::string key, SharedBytes value, Revision expected, LeaseId lease) {
  if (expected.value <= 0) co_return fail(Code::kInvalidArgument, cat("key ", key, ": update needs the revision it replaces"));
  Txn request = guarded(key, expected, PutRequest{.key = key, .value = std::move(value), .lease = lease});
  CO_TRY_ASSIGN(TxnResult result, co_await txn(std::move(request)));
  if (!result.succeeded) co_return fail(conflict(result, key, expected));
  co_return result.revision;
}

async::Task<Result<Revision>> Backend::remove(std::string key, Revision expected) {
  if (expected.value <= 0) co_return fail(Code::kInvalidArgument, cat("key ", key, ": remove needs the revision it replaces"));
  Txn request = guarded(key, expected, DeleteRequest{.key = key});
  CO_TRY_ASSIGN(TxnResult result, co_await txn(std::move(request)));
  if (!result.succeeded) co_return fail(conflict(result, key, expected));
  co_return result.revision;
}

async::Task<Result<Revision>> Backend::put(std::string key, SharedBytes value, LeaseId lease) {
  Txn request;
  request.success.push_back(PutRequest{.key = std::move(key), .value = std::move(value), .lease = lease});
  CO_TRY_ASSIGN(TxnResult result, co_await txn(std::move(request)));
  co_return result.revision;
}

async::Task<Result<std::optional<KeyValue>>> Backend::get(std::string key, Revision revision) {
  RangeRequest request{.key = std::move(key), .revision = revision};
  CO_TRY_ASSIGN(RangeResult result, co_await range(std::move(request)));
  if (result.kvs.empty()) co_return std::nullopt;
  co_return std::move(result.kvs[0]);
}

}  // namespace monopod::store
