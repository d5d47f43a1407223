// A running store, for commands: an etcd server, `monopod store serve`, or the node itself by the socket in its data directory.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cmd/command.h"
#include "codec/json.h"
#include "etcd/cluster/client.h"
#include "store/types.h"

namespace monopod::cmd {

struct RemoteOptions {
  std::vector<std::string> endpoints{};  // empty: 127.0.0.1:2379
  std::string data_dir{};                // instead: DIR/store.sock
  std::string ca_file{}, cert_file{}, key_file{};
  std::string user{};
  std::string password_file{};           // else MONOPOD_STORE_PASSWORD, else asked for on the terminal
  std::string timeout = "10s";
  std::string output = "text";
};

// The options above, with -o.
void add_remote_options(CLI::App& app, RemoteOptions& options);

class Remote {
 public:
  Remote(async::Executor executor_, async::Time& time_, std::unique_ptr<etcd::Client> client_) : executor(executor_), time(time_), client(std::move(client_)) {}

  async::Task<Result<store::RangeResult>> range(store::RangeRequest request);
  // Calls on_page for everything in the range, in pages of one revision. Returns that revision and the count of keys.
  async::Task<Result<store::RangeResult>> range_pages(store::RangeRequest request, std::function<Result<>(const store::RangeResult& page)> on_page);
  async::Task<Result<store::TxnResult>> txn(store::Txn txn);
  // One operation, as a transaction of its own.
  template <typename Answer>
  async::Task<Result<std::pair<store::Revision, Answer>>> run(store::Op op) {
    store::Txn one;
    one.success.push_back(std::move(op));
    CO_TRY_ASSIGN(store::TxnResult result, co_await txn(std::move(one)));
    Answer* answer = result.results.empty() ? nullptr : std::get_if<Answer>(&result.results.front());
    if (answer == nullptr) co_return fail(Code::kInternal, "the answer does not fit the request");
    co_return std::pair(result.revision, std::move(*answer));
  }

  const async::Executor executor;
  async::Time& time;
  const std::unique_ptr<etcd::Client> client;
};

using RemoteVerb = std::function<async::Task<Result<>>(Remote& remote)>;
// Connects, runs verb on a loop of its own, reports its error as "store NAME: …"; returns the exit code.
int run_remote(std::string_view name, const RemoteOptions& options, const RemoteVerb& verb);
// The same for errors of commands without a server.
int report_store(std::string_view name, const Result<>& result);

// "KEY [RANGE_END]", --prefix, --from-key.
struct KeyRangeOptions {
  std::string key{}, range_end{};
  bool prefix = false, from_key = false;
};
void add_key_range(CLI::App& app, KeyRangeOptions& options);

}  // namespace monopod::cmd
