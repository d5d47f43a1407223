// Private: what both sides of an HTTP/2 connection share: nghttp2's state machine, the output queue, flow control, budgets.
//
//   socket -> pump() -> nghttp2 -> on_*() hooks -> stream.input -> reader
//   writer -> stream.output -> nghttp2 (windows) -> output_ (bounded) -> one writev per turn -> socket
//
// Nothing here waits but run(): flush() runs at the next turn after anything was queued, so that many small writes become
// one packet; the write loop only wakes when the socket is full.
#pragma once

#include <nghttp2/nghttp2.h>

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/event.h"
#include "async/scope.h"
#include "async/time.h"
#include "base/bytes.h"
#include "http/budget.h"
#include "http/headers.h"
#include "http/limits.h"
#include "http/transport.h"

namespace monopod::http {

struct H2Stream {
  explicit H2Stream(std::int32_t stream_id) : id(stream_id) {}
  virtual ~H2Stream() = default;
  H2Stream(const H2Stream&) = delete;
  H2Stream& operator=(const H2Stream&) = delete;

  std::int32_t id;
  std::vector<SharedBytes> output;  // from output_first on
  std::size_t output_first = 0;
  std::size_t output_offset = 0;  // into the first
  std::size_t output_bytes = 0;
  bool output_end = false;
  Headers trailers;
  std::string input;
  std::size_t input_offset = 0;
  bool input_end = false;
  bool discard_input = false;
  bool reading = false;  // a reader waits
  bool closed = false;
  std::uint32_t error = 0;
  MonoTime progress{};
  std::unique_ptr<async::Notify> changed;  // made by the first who waits

  void wake() {
    if (changed) changed->wake_all();
  }
};

// Names of fields as HTTP/2 wants them; most are in lower case already. Views are valid while this and the headers live.
class LowerNames {
 public:
  explicit LowerNames(const Headers& headers);
  std::string_view next(std::string_view name);  // once for each field at most

 private:
  std::vector<std::string> lower_;
};

class H2Session : public std::enable_shared_from_this<H2Session> {
 public:
  H2Session(async::Executor executor, async::Time& time, const Limits& limits, std::unique_ptr<Transport> transport);
  virtual ~H2Session();
  H2Session(const H2Session&) = delete;
  H2Session& operator=(const H2Session&) = delete;

  // Until the connection's end. initial: bytes read already.
  async::Task<Result<>> run(std::string initial);
  void close();
  bool open() const { return open_; }

  // Output of a stream: queue(), and then wait_room() where it is full; write() is both. kUnavailable once the stream is closed.
  async::Task<Result<>> write(H2Stream& stream, SharedBytes bytes);
  Result<> queue(H2Stream& stream, SharedBytes bytes);
  bool is_full(const H2Stream& stream) const { return stream.output_bytes > limits_.write_queue_bytes_max; }
  async::Task<Result<>> wait_room(H2Stream& stream);
  void push(H2Stream& stream, SharedBytes bytes);
  void end_output(H2Stream& stream, Headers trailers);
  void reset(H2Stream& stream, std::uint32_t error);
  // Waits for input or the end of it; false at the end. kUnavailable for a closed stream.
  async::Task<Result<bool>> wait_input(H2Stream& stream);
  void consumed(H2Stream& stream, std::size_t bytes);
  void schedule_flush();

 protected:
  enum class Side { kServer, kClient };
  Result<> start_session(Side side, std::uint32_t stream_window, std::int32_t connection_window);
  // The body of a stream to nghttp2.
  nghttp2_data_provider provider_of(H2Stream& stream);
  static nghttp2_nv field(std::string_view name, std::string_view value);

  virtual H2Stream* find_stream(std::int32_t id) = 0;
  virtual void on_begin_frame(const nghttp2_frame_hd&) {}
  virtual int on_begin_headers(const nghttp2_frame& frame) = 0;
  virtual void on_header(const nghttp2_frame& frame, std::string_view name, std::string_view value) = 0;
  virtual void on_headers(const nghttp2_frame& frame) = 0;
  virtual void on_stream_closed(std::int32_t id, std::uint32_t error) = 0;
  virtual void on_frame_sent(const nghttp2_frame&) {}
  virtual void on_flushed() {}  // after each flush
  virtual bool over_budget(const nghttp2_frame&) { return false; }
  void calm_down();  // GOAWAY ENHANCE_YOUR_CALM, then the end
  void flush();

  async::Executor executor_;
  async::Time& time_;
  const Limits limits_;
  std::unique_ptr<Transport> transport_;
  nghttp2_session* session_ = nullptr;
  bool blocked_ = false;  // the socket is full
  bool open_ = true;
  MonoTime write_progress_{};
  MonoTime activity_{};

  bool output_empty() const { return output_.empty(); }

 private:
  struct Callbacks;
  struct Part {
    std::string owned{};
    SharedBytes shared{};
    std::size_t offset = 0;
    std::size_t size = 0;
    const char* data() const { return (shared ? shared->data() : owned.data()) + offset; }
  };
  void push_owned(std::string_view bytes);
  enum class Pumped { kEnd, kDrained, kBudget };  // kBudget: there may be more that was received
  Result<Pumped> pump();
  Result<> feed(std::string_view bytes);
  async::Task<Result<>> read_loop(std::string initial, async::Scope& scope);
  async::Task<Result<>> write_loop();

  std::deque<Part> output_;
  std::size_t output_bytes_ = 0;
  bool flush_scheduled_ = false;
  async::Notify unblocked_;
};

}  // namespace monopod::http
