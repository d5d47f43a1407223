#include "cmd/store/remote.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "async/loop.h"
#include "async/scope.h"
#include "base/duration.h"
#include "base/strings.h"
#include "cmd/host.h"
#include "cmd/resolver.h"
#include "cmd/store/output.h"
#include "etcd/cluster/answers.h"
#include "etcd/serve.h"
#include "pki/random.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using async::Task;

constexpr std::int64_t kPageKeys = 1000;
constexpr const char* kDefaultEndpoint = "127.0.0.1:2379";

std::vector<std::string> endpoints_of(const RemoteOptions& options) {
  if (!options.data_dir.empty()) return {"unix:" + etcd::local_socket_path(options.data_dir)};
  return options.endpoints.empty() ? std::vector<std::string>{kDefaultEndpoint} : options.endpoints;
}

// Asked for on the terminal, without showing it.
Result<std::string> ask_password(const std::string& user) {
  sys::Fd terminal(::open("/dev/tty", O_RDWR | O_CLOEXEC));
  if (!terminal) return fail(Code::kInvalidArgument, "the password of " + user + ": no terminal to ask on; give --password-file or MONOPOD_STORE_PASSWORD");
  termios before{};
  bool shown = ::tcgetattr(terminal.get(), &before) == 0;
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  std::string prompt = "password of " + sys::printable(user) + ": ";
  (void)!::write(terminal.get(), prompt.data(), prompt.size());
  if (shown) ::tcsetattr(terminal.get(), TCSAFLUSH, &silent);
  std::string password;
  for (char c = 0; ::read(terminal.get(), &c, 1) == 1 && c != '\n' && password.size() < 4096;) password += c;
  if (shown) ::tcsetattr(terminal.get(), TCSAFLUSH, &before);
  (void)!::write(terminal.get(), "\n", 1);
  return password;
}

Result<std::string> find_password(const RemoteOptions& options) {
  if (!options.password_file.empty()) {
    TRY_ASSIGN(std::string text, read_file(options.password_file));
    return std::string(std::string_view(text).substr(0, text.find('\n')));
  }
  if (const char* text = std::getenv("MONOPOD_STORE_PASSWORD"); text != nullptr) return std::string(text);
  return ask_password(options.user);
}

Result<etcd::ClientOptions> client_options(const RemoteOptions& options) {
  etcd::ClientOptions client{.endpoints = endpoints_of(options), .user = options.user};
  for (auto [path, into] : {std::pair{&options.ca_file, &client.ca_pem}, {&options.cert_file, &client.certificate_pem}, {&options.key_file, &client.key_pem}})
    if (!path->empty()) {
      TRY_ASSIGN(*into, read_file(*path));
    }
  if (options.user.contains(':')) return fail(Code::kInvalidArgument, "--user: a password on the command line can be read by everybody: give --password-file or MONOPOD_STORE_PASSWORD");
  if (!options.user.empty()) {
    TRY_ASSIGN(client.password, find_password(options));
  }
  TRY_ASSIGN(client.call_timeout, parse_duration(options.timeout));
  if (client.call_timeout <= Duration(0)) return fail(Code::kInvalidArgument, "--timeout: want more than 0");
  client.attempt_timeout = client.call_timeout;
  return client;
}

// The client waits for endpoints to come up, as a node must; a person wants to know at once.
Task<Result<>> reach_one(const std::vector<http::Endpoint>& endpoints, http::Resolver& resolver, async::Time& time, Duration limit) {
  std::optional<Error> first;
  for (const http::Endpoint& endpoint : endpoints) {
    std::string where = endpoint.unix_path.empty() ? endpoint.authority() : endpoint.unix_path;
    Result<sys::Fd> socket = co_await async::with_timeout<sys::Fd>(time, limit, "connect " + where, http::dial(endpoint, &resolver));
    if (socket) co_return Result<>();
    if (!first) first = socket.error();
  }
  co_return fail(*first);
}

struct Session {
  async::Loop& loop;
  etcd::ClientOptions options;
  const RemoteVerb& verb;
  async::RealTime time{};
  SystemRng rng{};
  HostResolver resolver{time, rng};

  Task<Result<>> operator()(async::Scope& scope) {
    std::vector<http::Endpoint> endpoints;
    bool with_tls = !options.ca_pem.empty() || !options.certificate_pem.empty();
    for (const std::string& text : options.endpoints) {
      CO_TRY_ASSIGN(http::Endpoint endpoint, etcd::parse_client_endpoint(text, with_tls));
      endpoints.push_back(std::move(endpoint));
    }
    CO_TRY(co_await reach_one(endpoints, resolver, time, options.call_timeout));
    options.resolver = &resolver;
    CO_TRY_ASSIGN(std::unique_ptr<etcd::Client> client, etcd::Client::make(scope, loop.executor(), time, options));
    Remote remote(loop.executor(), time, std::move(client));
    Result<> done = co_await verb(remote);
    std::fflush(stdout);
    scope.cancel();
    co_return done;
  }
};

Task<Result<>> run_session(Session& session) {
  co_return co_await async::run_scoped([&session](async::Scope& scope) { return session(scope); });
}

}  // namespace

void add_remote_options(CLI::App& app, RemoteOptions& o) {
  app.add_option("--endpoints", o.endpoints, "Servers, apart by commas: host:port, https://host:port, unix:/path (default: 127.0.0.1:2379)")->delimiter(',')->envname("MONOPOD_STORE_ENDPOINTS");
  app.add_option("--data-dir", o.data_dir, "Instead: the store that runs in this data directory, over its store.sock");
  app.add_option("--cacert", o.ca_file, "Authority of the servers' certificates (PEM)");
  app.add_option("--cert", o.cert_file, "Our certificate (PEM)");
  app.add_option("--key", o.key_file, "Its key (PEM)");
  app.add_option("--user", o.user, "User name; the password comes from --password-file, MONOPOD_STORE_PASSWORD or the terminal");
  app.add_option("--password-file", o.password_file, "Its first line is the password");
  app.add_option("--timeout", o.timeout, "How long a call may take")->capture_default_str();
  add_output_option(app, o.output);
}

Task<Result<store::RangeResult>> Remote::range(store::RangeRequest request) {
  CO_TRY_ASSIGN(std::string answer, co_await client->call("/etcdserverpb.KV/Range", etcd::format_range_request(request), etcd::Repeat::kSafe));
  co_return etcd::parse_range_answer(answer, request.keys_only);
}

Task<Result<store::RangeResult>> Remote::range_pages(store::RangeRequest request, std::function<Result<>(const store::RangeResult& page)> on_page) {
  const bool limited = request.limit > 0;
  std::int64_t left = request.limit;
  std::optional<store::RangeResult> all;
  for (;;) {
    request.limit = limited ? std::min(left, kPageKeys) : kPageKeys;
    CO_TRY_ASSIGN(store::RangeResult page, co_await range(request));
    if (!all) all = store::RangeResult{.revision = page.revision, .kvs = {}, .count = page.count};
    all->more = page.more;
    CO_TRY(on_page(page));
    left -= static_cast<std::int64_t>(page.kvs.size());
    if (!page.more || page.kvs.empty() || (limited && left <= 0)) co_return std::move(*all);
    if (request.revision.value == 0) request.revision = page.revision;
    request.key = page.kvs.back().key + std::string(1, '\0');
  }
}

Task<Result<store::TxnResult>> Remote::txn(store::Txn txn) {
  CO_TRY_ASSIGN(std::string request, etcd::format_txn_request(txn));
  CO_TRY_ASSIGN(std::string answer, co_await client->call("/etcdserverpb.KV/Txn", std::move(request), etcd::Repeat::kUnsafe));
  co_return etcd::parse_txn_answer(answer, txn);
}

int run_remote(std::string_view name, const RemoteOptions& options, const RemoteVerb& verb) {
  configure_logging();
  pki::initialise();
  Result<etcd::ClientOptions> client = client_options(options);
  if (!client) return report_store(name, fail(std::move(client).error()));
  async::Loop loop;
  Session session{.loop = loop, .options = std::move(*client), .verb = verb};
  return report_store(name, loop.run(run_session(session)));
}

int report_store(std::string_view name, const Result<>& result) {
  if (result) return 0;
  return report(result.error().with(cat("store ", name)));
}

void add_key_range(CLI::App& app, KeyRangeOptions& o) {
  app.add_option("key", o.key, "Key, or begin of the range");
  app.add_option("range_end", o.range_end, "End of the range, not part of it");
  app.add_flag("--prefix", o.prefix, "All keys that begin with KEY; every key where KEY is \"\"");
  app.add_flag("--from-key", o.from_key, "All keys from KEY on");
}

}  // namespace monopod::cmd
