// Frames from a client of the proxy: whatever comes, what a stream's user takes is a head that reads the same as lines of HTTP/1.1, or a refusal; and an
// answer with a trailer can be written. Behind an "A", frames from an endpoint: heads of answers, content and trailers, to two requests.
#include <sys/socket.h>

#include "base/strings.h"
#include "proxy/h2/core.h"
#include "proxy/h2/downstream.h"
#include "proxy/stream/head_edits.h"
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
    if (!std::exchange(answered_, true)) answer();
    while (stream_->read(bytes, sizeof bytes).kind == proxy::Moved::kBytes) {}
  }

 private:
  void answer() {
    static proxy::Head head, again;
    static char slab[proxy::kSlabBytes];
    if (stream_->take_head(slab, head).kind != proxy::Moved::kBytes) return;
    if (head.refusal.status == 0) {
      fuzz::check(!head.keep_alive && !head.wants_upgrade && head.size <= proxy::kHeadBytesMax, "a stream is for one request");
      std::string text = cat(head.method, " ", head.target, " HTTP/1.1\r\n", std::string_view(head.base, head.size).substr(head.line_end));
      fuzz::check(proxy::parse_request_head(text.data(), text.size(), again) != proxy::Parsed::kBad || again.refusal.status == 431, "its lines are those of HTTP/1.1");
      fuzz::check(again.count == head.count && again.path == head.path && again.host == head.host && again.size == text.size(), "and read the same");
    }
    constexpr std::string_view kLine = "HTTP/1.1 200 OK\r\n\r\n";
    proxy::parse_response_head(kLine.data(), kLine.size(), false, head);
    if (!stream_->send_head(head, proxy::HeadEdits(), {}, false)) return;
    iovec part{slab, 3};
    proxy::Ending ending{"x-t: u\r\n"};
    stream_->write({&part, 1}, &ending);
  }

  std::shared_ptr<proxy::H2Stream> stream_;
  bool answered_ = false;
};

// Who asked: takes what comes.
class Asker final : public proxy::Pollable {
 public:
  explicit Asker(std::shared_ptr<proxy::H2Stream> stream) : stream_(std::move(stream)) {
    static proxy::Head head;
    constexpr std::string_view kText = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    proxy::parse_request_head(kText.data(), kText.size(), head);
    stream_->set_user(this);
    fuzz::check(stream_->send_head(head, proxy::HeadEdits(), "/", true), "a request leaves");
  }
  ~Asker() override { stream_->on_closed(); }
  void on_ready(std::uint32_t) override {
    static proxy::Head head;
    static char slab[proxy::kSlabBytes];
    while (stream_->take_head(slab, head).kind == proxy::Moved::kBytes) {
      bool good = head.status >= 100 && head.status != 101 && head.size <= proxy::kHeadBytesMax && head.framing != proxy::Framing::kChunked;
      fuzz::check(good && !done_, "one answer, behind interim ones");
      done_ = head.status >= 200;
    }
    while (stream_->read(slab, sizeof slab).kind == proxy::Moved::kBytes) fuzz::check(done_, "content comes behind a head");
    for (std::string_view lines = stream_->trailers(); !lines.empty(); lines.remove_prefix(lines.find('\n') + 1))
      fuzz::check(proxy::is_trailer_line(lines.substr(0, lines.find('\n') + 1)), "trailers are sound lines");
  }

 private:
  std::shared_ptr<proxy::H2Stream> stream_;
  bool done_ = false;
};

class Connection final : public proxy::Pollable, public proxy::H2Core {
 public:
  Connection(proxy::Worker& worker, proxy::Socket& socket, Side side) : H2Core(worker, socket, *this, side) {}
  void on_ready(std::uint32_t) override {}
  void on_request(const std::shared_ptr<proxy::H2Stream>& stream) override { readers_.emplace_back(std::make_unique<Reader>(stream))->on_ready(0); }
  void ask() {
    auto stream = std::make_shared<proxy::H2Stream>(static_cast<H2Core&>(*this));
    add_unsent(stream);
    askers_.push_back(std::make_unique<Asker>(std::move(stream)));
  }
  void end() {
    fail_all();
    readers_.clear();
    askers_.clear();
  }

 private:
  std::vector<std::unique_ptr<Reader>> readers_;
  std::vector<std::unique_ptr<Asker>> askers_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static SystemRng rng;
  static std::unique_ptr<proxy::Worker> worker = std::move(*proxy::Worker::make(rng));
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) return 0;
  sys::Fd peer(fds[1]);
  proxy::Socket socket{sys::Fd(fds[0])};
  std::string_view bytes = fuzz::text_of(data, size);
  bool answers = bytes.starts_with('A');
  auto* connection = new Connection(*worker, socket, answers ? proxy::H2Core::Side::kClient : proxy::H2Core::Side::kServer);  // the poller, which may still name it, destroys it
  connection->open();
  if (answers) {
    connection->ask();
    connection->ask();
    bytes.remove_prefix(1);
  } else {
    connection->feed(proxy::kHttp2Preface);
  }
  connection->feed(bytes.substr(0, bytes.size() / 2));  // cut where it may
  connection->feed(bytes.substr(bytes.size() / 2));
  if (connection->turn()) connection->turn();
  connection->end();
  worker->poller().retire(connection);
  worker->poller().poll(0);
  return 0;
}
