// Private: what a Client and its probes share.
#pragma once

#include <vector>

#include "async/event.h"
#include "etcd/cluster/client.h"

namespace monopod::etcd {

struct Member {
  Member(async::Executor executor, std::size_t i) : index(i), wanted(executor), failed(executor) {}
  std::size_t index;
  std::string url;
  std::unique_ptr<http::Client> http;
  bool up = false;
  std::string version;
  std::optional<Error> error;
  int in_flight = 0;
  async::Notify wanted;  // the first call after none began, or one failed
  async::Notify failed;
};

struct Client::State : std::enable_shared_from_this<Client::State> {
  State(async::Executor e, async::Time& t, ClientOptions o) : executor(e), time(t), options(std::move(o)), changed(e), authenticated(e) {}

  async::Executor executor;
  async::Time& time;
  ClientOptions options;
  std::unique_ptr<http::TlsClient> tls;
  std::vector<std::unique_ptr<Member>> members;
  std::size_t next = 0;     // round-robin
  async::Notify changed;    // a member came up
  bool closed = false;

  std::string token;
  bool auth_disabled = false;  // the server says it needs no token
  bool authenticating = false;
  async::Notify authenticated;

  // The next member that is up, rather another than avoid; null if none is.
  Member* find_up(const Member* avoid);
  // Waits for one. kUnavailable with the last reason at the deadline.
  async::Task<Result<Member*>> pick(const Member* avoid, MonoTime deadline);
  void mark_up(Member& member);
  void mark_down(Member& member, Error why);
  Error why_down() const;

  http::Headers metadata() const;
  // Makes sure that there is a token where a user is given.
  async::Task<Result<>> authenticate(Member& member, Duration limit);
  void forget_token() {
    token.clear();
    auth_disabled = false;
  }
};

// Counts a call, so that its member is looked at while it lasts.
class InFlight {
 public:
  explicit InFlight(Member& member) : member_(member) {
    if (member_.in_flight++ == 0) member_.wanted.wake_all();
  }
  ~InFlight() { --member_.in_flight; }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  Member& member_;
};

// The server never took the request, or said that it did not execute it.
bool surely_not_done(const Error& error);
// The token is refused: a new one may be accepted.
bool token_refused(const Error& error);
// The connection or the server failed, rather than the request.
bool transport_failed(const Error& error);

// Probes one member until the client is gone.
async::Task<Result<>> watch_over(std::shared_ptr<Client::State> state, Member& member);

}  // namespace monopod::etcd
