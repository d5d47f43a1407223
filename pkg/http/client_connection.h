// Private: the two client protocols behind Client.
#pragma once

#include <functional>
#include <memory>

#include "http/client.h"
#include "http/transport.h"

namespace monopod::http {

// HTTP/1.1: one exchange at a time.
struct H1ClientConnection {
  explicit H1ClientConnection(std::unique_ptr<Transport> t) : transport(std::move(t)) {}
  std::unique_ptr<Transport> transport;
  std::string input;
  bool reused = false;
  // Still open, with nothing read that nobody asked for.
  bool healthy();
};

// Called with a connection that can take another request.
using KeepConnection = std::function<void(std::unique_ptr<H1ClientConnection>)>;

struct Outgoing {
  std::string method{};
  std::string target{};
  Headers headers{};
  SharedBytes body{};      // whole, where not streaming
  bool streaming = false;  // write() follows
};
// Sends the head and a whole body.
async::Task<Result<std::unique_ptr<Call>>> start_h1_call(std::unique_ptr<H1ClientConnection> connection, Outgoing send, Limits limits, KeepConnection keep);

// HTTP/2: many calls on one connection.
class H2ClientConnection {
 public:
  virtual ~H2ClientConnection() = default;
  // Runs the connection until its end.
  virtual async::Task<Result<>> run_connection() = 0;
  virtual Result<std::unique_ptr<Call>> start_call(Outgoing send, std::string_view scheme, std::string_view authority) = 0;
  virtual bool usable() const = 0;
  // No more calls; ends with its last one.
  virtual void retire() = 0;
  // Ends now; its calls fail with kUnavailable.
  virtual void abort() = 0;
};
Result<std::shared_ptr<H2ClientConnection>> make_h2_client(async::Executor executor, async::Time& time, const Limits& limits,
                                                           std::unique_ptr<Transport> transport);

}  // namespace monopod::http
