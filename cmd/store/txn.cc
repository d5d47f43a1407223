// `monopod store txn`: a transaction from standard input, as etcdctl reads it; asked for line by line on a terminal.
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "cmd/store/commands.h"
#include "cmd/store/output.h"
#include "cmd/store/remote.h"
#include "etcd/txn_text.h"

namespace monopod::cmd {
namespace {

using async::Task;

// Lines up to an empty one; on a terminal a line that is wrong is asked for again.
template <typename Parse, typename Take>
Result<> read_part(const char* prompt, bool terminal, Parse parse, Take take) {
  if (terminal) std::fprintf(stderr, "%s\n", prompt);
  for (std::string line; std::getline(std::cin, line) && !line.empty();) {
    auto parsed = parse(line);
    if (parsed) take(std::move(*parsed));
    else if (terminal) std::fprintf(stderr, "  %s\n", parsed.error().message().c_str());
    else return fail(std::move(parsed).error());
  }
  return {};
}

Result<store::Txn> read_txn(bool terminal) {
  store::Txn txn;
  TRY(read_part("compares, such as mod(\"key\") > \"0\"; an empty line ends them:", terminal, etcd::parse_compare, [&](store::Compare c) { txn.compare.push_back(std::move(c)); }));
  TRY(read_part("if all hold (get, put, del):", terminal, etcd::parse_operation, [&](store::Op op) { txn.success.push_back(std::move(op)); }));
  TRY(read_part("otherwise (get, put, del):", terminal, etcd::parse_operation, [&](store::Op op) { txn.failure.push_back(std::move(op)); }));
  return txn;
}

json::Value describe(const store::OpResult& result) {
  json::Array kvs;
  if (const auto* range = std::get_if<store::RangeResult>(&result)) {
    for (const store::KeyValue& kv : range->kvs) kvs.push_back(describe_key_value(kv));
    return json::Object{{"get", json::Object{{"kvs", std::move(kvs)}, {"count", range->count}, {"more", range->more}}}};
  }
  if (const auto* put = std::get_if<store::PutResult>(&result)) {
    json::Object out;
    if (put->prev) out["prev_kv"] = describe_key_value(*put->prev);
    return json::Object{{"put", std::move(out)}};
  }
  if (const auto* del = std::get_if<store::DeleteResult>(&result)) {
    for (const store::KeyValue& kv : del->prev) kvs.push_back(describe_key_value(kv));
    return json::Object{{"del", json::Object{{"deleted", del->deleted}, {"prev_kvs", std::move(kvs)}}}};
  }
  return nullptr;
}

void print_pair(const store::KeyValue& kv) {
  print_line(kv.key);
  print_line(kv.value ? *kv.value : std::string());
}

void print(const store::OpResult& result) {
  std::printf("\n");
  if (const auto* range = std::get_if<store::RangeResult>(&result)) {
    for (const store::KeyValue& kv : range->kvs) print_pair(kv);
  } else if (const auto* put = std::get_if<store::PutResult>(&result)) {
    std::printf("OK\n");
    if (put->prev) print_pair(*put->prev);
  } else if (const auto* del = std::get_if<store::DeleteResult>(&result)) {
    std::printf("%lld\n", static_cast<long long>(del->deleted));
    for (const store::KeyValue& kv : del->prev) print_pair(kv);
  }
}

Task<Result<>> run_txn(Remote& remote, const RemoteOptions& options, store::Txn txn) {
  CO_TRY_ASSIGN(store::TxnResult result, co_await remote.txn(std::move(txn)));
  if (options.output == "json") {
    json::Array results;
    for (const store::OpResult& one : result.results) results.push_back(describe(one));
    print_json(json::Object{{"revision", result.revision.value}, {"succeeded", result.succeeded}, {"results", std::move(results)}});
    co_return Result<>();
  }
  std::printf(result.succeeded ? "SUCCESS\n" : "FAILURE\n");
  for (const store::OpResult& one : result.results) print(one);
  co_return Result<>();
}

}  // namespace

void add_store_txn(CLI::App& store, Invocation& invocation) {
  CLI::App* app = add_command(store, "txn", "Run a transaction read from standard input",
                              "  Comparisons, an empty line, what to do if all hold, an empty line, what to do otherwise:\n"
                              "\n"
                              "  monopod store txn <<'EOF'\n"
                              "  mod(\"greeting\") > \"0\"\n"
                              "  value(\"greeting\") = \"hello\"\n"
                              "\n"
                              "  put greeting \"good bye\"\n"
                              "\n"
                              "  get greeting\n"
                              "  EOF");
  auto options = std::make_shared<RemoteOptions>();
  add_remote_options(*app, *options);
  app->callback([options, &invocation] {
    invocation.run = [options] {
      Result<store::Txn> txn = read_txn(::isatty(0) != 0);
      if (!txn) return report_store("txn", fail(std::move(txn).error()));
      return run_remote("txn", *options, [&](Remote& remote) { return run_txn(remote, *options, *txn); });
    };
  });
}

}  // namespace monopod::cmd
