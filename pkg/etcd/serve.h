// `monopod store serve`: the store as a server of its own that speaks etcd's v3 API.
#pragma once

#include <functional>

#include "async/time.h"
#include "backup/schedule.h"
#include "etcd/auth/auth_store.h"
#include "store/sqlite_backend.h"

namespace monopod::etcd {

// Where the store of a data directory listens for commands on the same host.
inline std::string local_socket_path(const std::string& data_dir) { return data_dir + "/store.sock"; }

struct ServeOptions {
  std::string data_dir{};                      // holds state.db; made 0700 if absent
  std::string listen = "127.0.0.1:2379";       // address:port, "[::1]:port", or "unix:/path"
  store::Durability durability = store::Durability::kAlways;
  store::CompactionPolicy compaction{.keep_revisions = 0};  // clients compact, as with etcd
  std::int64_t quota_backend_bytes = 0;        // etcd's flag: 0 is 2 GiB, negative is none
  std::chrono::seconds progress_interval{600};
  std::string certificate_pem{};               // with key_pem: TLS
  std::string key_pem{};
  std::string client_ca_pem{};                 // with client_cert_auth: every client must show a certificate of it
  bool client_cert_auth = false;               // its common name is then the user of a client without a token
  TokenOptions tokens{};
  AuthOptions auth{};
  bool local_socket = true;                    // also on <data_dir>/store.sock, without TLS: mode 0600, for who may read the file anyway
  std::optional<backup::ScheduleOptions> backup{};
  std::function<void(std::uint16_t port)> on_ready{};  // port 0 for a unix socket
};

// Until cancelled; then closes the store cleanly.
async::Task<Result<>> serve(ServeOptions options, async::Time& time, Rng& rng);

}  // namespace monopod::etcd
