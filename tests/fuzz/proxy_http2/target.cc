// Frames from a client of the proxy: whatever comes, what a stream's user reads is one whole head of HTTP/1.1, or none that any parser takes for one; and
// an answer can be written.
#include <sys/socket.h>

#include "proxy/h2/core.h"
#include "proxy/h2/downstream.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

namespace {

// Who uses a stream: reads all there is, and answers.
class Reader final : public proxy::Pollable {
 public:
  explicit Reader(std::shared_ptr<proxy::H2Stream> stream) : stream_(std::move(stream)) { stream_->set_user(this); }
  ~Reader() override { stream_->on_closed(); }
  void on_ready(std::uint32_t) override {
    char bytes[4096];
    for (proxy::Moved moved; (moved = stream_->read(bytes, sizeof bytes)).kind == proxy::Moved::kBytes;) text_.append(bytes, moved.bytes);
    if (std::exchange(answered_, true)) return;
    static proxy::Head head;
    if (proxy::parse_request_head(text_.data(), text_.size(), head) == proxy::Parsed::kBad) return;
    fuzz::check(head.size > 0 && text_.find("\r\n\r\n") + 4 == head.size, "a stream's head is whole, and one");
    fuzz::check(!head.keep_alive && !head.wants_upgrade, "a stream is for one request");
    std::string answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: u\r\n\r\n";
    iovec part{answer.data(), answer.size()};
    stream_->write({&part, 1});
  }

 private:
  std::shared_ptr<proxy::H2Stream> stream_;
  std::string text_;
  bool answered_ = false;
};

class Connection final : public proxy::Pollable, public proxy::H2Core {
 public:
  Connection(proxy::Worker& worker, proxy::Socket& socket) : H2Core(worker, socket, *this, Side::kServer) {}
  void on_ready(std::uint32_t) override {}
  void on_request(const std::shared_ptr<proxy::H2Stream>& stream) override { readers_.emplace_back(std::make_unique<Reader>(stream))->on_ready(0); }
  void end() {
    fail_all();
    readers_.clear();
  }

 private:
  std::vector<std::unique_ptr<Reader>> readers_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static SystemRng rng;
  static std::unique_ptr<proxy::Worker> worker = std::move(*proxy::Worker::make(rng));
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) return 0;
  sys::Fd peer(fds[1]);
  proxy::Socket socket{sys::Fd(fds[0])};
  auto* connection = new Connection(*worker, socket);  // the poller, which may still name it, destroys it
  fuzz::check(connection->open(), "there is memory");
  connection->feed(proxy::kHttp2Preface);
  connection->feed(fuzz::text_of(data, size));
  if (connection->turn()) connection->turn();
  connection->end();
  worker->poller().retire(connection);
  worker->poller().poll(0);
  return 0;
}
