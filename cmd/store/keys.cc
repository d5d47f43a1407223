// `monopod store get|put|del`.
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/strings.h"
#include "cmd/store/commands.h"
#include "cmd/store/output.h"
#include "cmd/store/remote.h"
#include "etcd/txn_text.h"

namespace monopod::cmd {
namespace {

using async::Task;
using store::KeyValue;

struct KeyCommand {
  RemoteOptions remote;
  KeyRangeOptions range;
  // get
  std::int64_t revision = 0, limit = 0;
  std::string sort_by = "key", order = "ascend";
  bool keys_only = false, count_only = false, values_only = false;
  // put
  std::string value;
  std::string lease;
  bool previous = false, ignore_value = false, ignore_lease = false;
  bool has_value = false;
};

Result<etcd::ParsedRange> key_range(const KeyRangeOptions& o) {
  return etcd::parse_key_range({.key = o.key, .range_end = o.range_end, .prefix = o.prefix, .from_key = o.from_key});
}

void print_pair(const KeyCommand& command, const KeyValue& kv) {
  if (!command.values_only) print_line(kv.key);
  if (!command.keys_only) print_line(kv.value ? *kv.value : std::string());
}

json::Array describe_all(const std::vector<KeyValue>& kvs) {
  json::Array out;
  for (const KeyValue& kv : kvs) out.push_back(describe_key_value(kv));
  return out;
}

void sort_pairs(const KeyCommand& command, std::vector<KeyValue>& kvs) {
  auto by = [&kvs](auto projection) { std::ranges::stable_sort(kvs, {}, projection); };
  if (command.sort_by == "version") by([](const KeyValue& kv) { return kv.version; });
  if (command.sort_by == "create") by([](const KeyValue& kv) { return kv.create.value; });
  if (command.sort_by == "modify") by([](const KeyValue& kv) { return kv.mod.value; });
  if (command.sort_by == "value") by([](const KeyValue& kv) { return kv.value ? std::string_view(*kv.value) : std::string_view(); });
  if (command.order == "descend") std::ranges::reverse(kvs);
}

Task<Result<>> get(Remote& remote, const KeyCommand& command) {
  CO_TRY_ASSIGN(etcd::ParsedRange range, key_range(command.range));
  store::RangeRequest request{.key = std::move(range.key), .range_end = std::move(range.range_end), .revision = store::Revision(command.revision), .limit = command.limit,
                              .keys_only = command.keys_only, .count_only = command.count_only};
  if (command.count_only) {
    CO_TRY_ASSIGN(store::RangeResult counted, co_await remote.range(request));
    if (command.remote.output == "json") print_json(json::Object{{"revision", counted.revision.value}, {"count", counted.count}});
    else std::printf("%lld\n", static_cast<long long>(counted.count));
    co_return Result<>();
  }
  bool sorted = command.sort_by != "key" || command.order != "ascend";
  bool streams = !sorted && command.remote.output != "json";
  if (sorted) request.limit = 0;  // what the limit keeps is known once all is sorted
  std::vector<KeyValue> kvs;
  auto on_page = [&](const store::RangeResult& page) -> Result<> {
    for (const KeyValue& kv : page.kvs)
      if (streams) print_pair(command, kv);
      else kvs.push_back(kv);
    return {};
  };
  CO_TRY_ASSIGN(store::RangeResult all, co_await remote.range_pages(std::move(request), on_page));
  sort_pairs(command, kvs);
  bool more = all.more;
  if (sorted && command.limit > 0 && kvs.size() > static_cast<std::size_t>(command.limit)) {
    kvs.resize(static_cast<std::size_t>(command.limit));
    more = true;
  }
  if (command.remote.output == "json") print_json(json::Object{{"revision", all.revision.value}, {"kvs", describe_all(kvs)}, {"count", all.count}, {"more", more}});
  else
    for (const KeyValue& kv : kvs) print_pair(command, kv);
  co_return Result<>();
}

Result<std::string> read_stdin() {
  std::string text;
  char buffer[64 << 10];
  for (ssize_t n; (n = ::read(0, buffer, sizeof buffer)) != 0;) {
    if (n < 0) return fail_errno("read the value from standard input");
    text.append(buffer, static_cast<std::size_t>(n));
    if (text.size() > (16U << 20)) return fail(Code::kInvalidArgument, "the value on standard input is larger than any store takes");
  }
  return text;
}

Task<Result<>> put(Remote& remote, const KeyCommand& command) {
  store::PutRequest request{.key = command.range.key, .prev_kv = command.previous, .ignore_value = command.ignore_value, .ignore_lease = command.ignore_lease};
  std::string value = command.value;
  if (!command.has_value && !command.ignore_value) {
    CO_TRY_ASSIGN(value, read_stdin());
  }
  request.value = share(std::move(value));
  if (!command.lease.empty()) {
    CO_TRY_ASSIGN(request.lease, parse_lease_id(command.lease));
  }
  CO_TRY_ASSIGN(auto done, co_await remote.run<store::PutResult>(std::move(request)));
  const auto& [revision, result] = done;
  if (command.remote.output == "json") {
    json::Object out{{"revision", revision.value}};
    if (result.prev) out["prev_kv"] = describe_key_value(*result.prev);
    print_json(out);
    co_return Result<>();
  }
  std::printf("OK\n");
  if (result.prev) print_pair(command, *result.prev);
  co_return Result<>();
}

Task<Result<>> del(Remote& remote, const KeyCommand& command) {
  CO_TRY_ASSIGN(etcd::ParsedRange range, key_range(command.range));
  store::DeleteRequest request{.key = std::move(range.key), .range_end = std::move(range.range_end), .prev_kv = command.previous};
  CO_TRY_ASSIGN(auto done, co_await remote.run<store::DeleteResult>(std::move(request)));
  const auto& [revision, result] = done;
  if (command.remote.output == "json") {
    print_json(json::Object{{"revision", revision.value}, {"deleted", result.deleted}, {"prev_kvs", describe_all(result.prev)}});
    co_return Result<>();
  }
  std::printf("%lld\n", static_cast<long long>(result.deleted));
  for (const KeyValue& kv : result.prev) print_pair(command, kv);
  co_return Result<>();
}

using KeyVerb = Task<Result<>> (*)(Remote&, const KeyCommand&);

std::shared_ptr<KeyCommand> add(CLI::App& app, Invocation& invocation, const char* name, KeyVerb verb) {
  auto command = std::make_shared<KeyCommand>();
  app.callback([&app, command, name, verb, &invocation] {
    command->has_value = app.get_option_no_throw("value") != nullptr && app.get_option("value")->count() > 0;
    invocation.run = [command, name, verb] { return run_remote(name, command->remote, [&](Remote& remote) { return verb(remote, *command); }); };
  });
  return command;
}

}  // namespace

void add_store_keys(CLI::App& store, Invocation& invocation) {
  CLI::App* get_app = add_command(store, "get", "Show keys and their values",
                                  "  monopod store get greeting\n"
                                  "  monopod store get --prefix /app/ --keys-only\n"
                                  "  sudo monopod store get --data-dir /var/lib/monopod --prefix /registry/ --count-only\n"
                                  "  monopod store get greeting --rev 7 -o json");
  auto get_command = add(*get_app, invocation, "get", get);
  add_key_range(*get_app, get_command->range);
  get_app->add_option("--rev", get_command->revision, "As it was at this revision")->check(CLI::NonNegativeNumber);
  get_app->add_option("--limit", get_command->limit, "At most so many keys")->check(CLI::NonNegativeNumber);
  get_app->add_option("--sort-by", get_command->sort_by, "key, version, create, modify or value")->check(CLI::IsMember({"key", "version", "create", "modify", "value"}, CLI::ignore_case))->capture_default_str();
  get_app->add_option("--order", get_command->order, "ascend or descend")->check(CLI::IsMember({"ascend", "descend"}, CLI::ignore_case))->capture_default_str();
  get_app->add_flag("--keys-only", get_command->keys_only, "No values");
  get_app->add_flag("--count-only", get_command->count_only, "Only how many keys there are");
  get_app->add_flag("--print-value-only", get_command->values_only, "Only values");
  add_remote_options(*get_app, get_command->remote);

  CLI::App* put_app = add_command(store, "put", "Store a value under a key",
                                  "  monopod store put greeting hello\n"
                                  "  monopod store put config < config.json\n"
                                  "  monopod store put worker/1 alive --lease 694d5765fc71500b");
  auto put_command = add(*put_app, invocation, "put", put);
  put_app->add_option("key", put_command->range.key, "Key")->required();
  put_app->add_option("value", put_command->value, "Value; from standard input where it is missing");
  put_app->add_option("--lease", put_command->lease, "The key goes when this lease does (hex)");
  put_app->add_flag("--prev-kv", put_command->previous, "Show what it replaced");
  put_app->add_flag("--ignore-value", put_command->ignore_value, "Keep the value, change the lease");
  put_app->add_flag("--ignore-lease", put_command->ignore_lease, "Keep the lease, change the value");
  add_remote_options(*put_app, put_command->remote);

  CLI::App* del_app = add_command(store, "del", "Delete keys",
                                  "  monopod store del greeting\n"
                                  "  monopod store del --prefix /app/ --prev-kv");
  auto del_command = add(*del_app, invocation, "del", del);
  add_key_range(*del_app, del_command->range);
  del_app->add_flag("--prev-kv", del_command->previous, "Show what was deleted");
  add_remote_options(*del_app, del_command->remote);
}

}  // namespace monopod::cmd
