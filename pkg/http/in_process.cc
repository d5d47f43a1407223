#include "http/in_process.h"

#include <algorithm>
#include <cstring>
#include <deque>

#include "async/event.h"
#include "http/answers.h"

namespace monopod::http {
namespace {

// What caller and handler share: a pipe in each direction, of shared bytes, bounded.
struct Pipe {
  explicit Pipe(async::Executor executor) : changed(executor) {}
  std::deque<SharedBytes> chunks;
  std::size_t bytes = 0;
  bool ended = false;
  async::Notify changed;

  void push(SharedBytes chunk) {
    bytes += chunk->size();
    chunks.push_back(std::move(chunk));
    changed.wake_all();
  }
  void end() {
    ended = true;
    changed.wake_all();
  }
};

struct Exchanged {
  Exchanged(async::Executor executor, Handler& h) : handler(h), request_body(executor), answer_body(executor), head_ready(executor), running(executor) {}
  Handler& handler;
  Request request;
  Pipe request_body;
  Pipe answer_body;
  int status = 0;
  Headers headers;
  Headers trailers;
  std::optional<Error> failed;  // the answer was cut short
  async::Event head_ready;      // or failed
  async::Scope running;
  std::size_t queue_bytes_max = Limits{}.write_queue_bytes_max;
};

class InProcessExchange final : public Exchange {
 public:
  explicit InProcessExchange(Exchanged& shared) : shared_(shared) { request_ = std::move(shared.request); }

  async::Task<Result<std::size_t>> read_body_some(std::span<std::byte> into) override {
    Pipe& pipe = shared_.request_body;
    while (pipe.chunks.empty()) {
      if (pipe.ended) co_return 0U;
      CO_TRY(co_await pipe.changed.wait());
    }
    const std::string& first = *pipe.chunks.front();
    std::size_t n = std::min(into.size(), first.size() - offset_);
    std::memcpy(into.data(), first.data() + offset_, n);
    offset_ += n;
    pipe.bytes -= n;
    if (offset_ == first.size()) {
      pipe.chunks.pop_front();
      offset_ = 0;
    }
    pipe.changed.wake_all();
    co_return n;
  }

  async::Task<Result<>> start(int status, Headers headers) override {
    if (started_) co_return fail(Code::kInternal, "answer was started already");
    started_ = true;
    shared_.status = status;
    shared_.headers = std::move(headers);
    shared_.head_ready.set();
    co_return Result<>();
  }
  async::Task<Result<>> write(SharedBytes bytes) override {
    if (!started_ || finished_) co_return fail(Code::kInternal, "answer is not open");
    if (!bytes || bytes->empty() || request_.method == "HEAD") co_return Result<>();
    Pipe& pipe = shared_.answer_body;
    pipe.push(std::move(bytes));
    while (pipe.bytes > shared_.queue_bytes_max) CO_TRY(co_await pipe.changed.wait());
    co_return Result<>();
  }
  bool try_write(const SharedBytes& bytes) override {
    Pipe& pipe = shared_.answer_body;
    if (!started_ || finished_ || !bytes || bytes->empty() || request_.method == "HEAD" || pipe.bytes > shared_.queue_bytes_max) return false;
    pipe.push(bytes);
    return true;
  }
  async::Task<Result<>> finish(Headers trailers) override {
    if (!started_) CO_TRY(co_await send_whole(200, {}, nullptr));
    if (finished_) co_return Result<>();
    finished_ = true;
    shared_.trailers = std::move(trailers);
    shared_.answer_body.end();
    co_return Result<>();
  }
  bool started() const override { return started_; }
  bool wants_upgrade(std::string_view) const override { return false; }
  async::Task<Result<std::unique_ptr<async::Stream>>> upgrade(int, Headers) override {
    co_return fail(Code::kUnimplemented, "upgrade of an in-process request");
  }

 protected:
  async::Task<Result<>> send_whole(int status, Headers headers, SharedBytes body) override {
    headers.set("Content-Length", std::to_string(body ? body->size() : 0));
    CO_TRY(co_await start(status, std::move(headers)));
    finished_ = true;
    if (body && !body->empty() && request_.method != "HEAD") shared_.answer_body.push(std::move(body));
    shared_.answer_body.end();
    co_return Result<>();
  }

 private:
  Exchanged& shared_;
  std::size_t offset_ = 0;
  bool started_ = false;
  bool finished_ = false;
};

async::Task<Result<>> run_handler(Exchanged& shared) {
  struct End {
    Exchanged& shared;
    ~End() {
      if (!shared.answer_body.ended && !shared.failed) shared.failed = Error(Code::kUnavailable, "handler ended early");
      shared.head_ready.set();
      shared.answer_body.end();
      shared.request_body.changed.wake_all();  // a caller that still sends its body
    }
  } end{shared};
  InProcessExchange exchange(shared);
  Result<> handled = co_await shared.handler.handle(exchange);
  if (!handled && !exchange.started() && handled.error().code() != Code::kCancelled) {
    PlainAnswer plain = plain_answer(handled.error());
    handled = co_await exchange.respond(plain.status, std::move(plain.headers), std::move(plain.body));
  } else if (handled) {
    handled = co_await exchange.finish({});
  }
  if (!handled) shared.failed = Error(Code::kDataLoss, "answer was cut short: " + handled.error().message());
  co_return Result<>();
}

// Lives in the caller's background scope: waits for the handler, however it ends.
async::Task<> keep(std::shared_ptr<Exchanged> shared) {
  shared->running.spawn(run_handler(*shared));
  Result<> ignored = co_await shared->running.join();
}

// With the last of call and body the handler is cancelled.
struct Handle {
  explicit Handle(std::shared_ptr<Exchanged> s) : shared(std::move(s)) {}
  ~Handle() { shared->running.cancel(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  std::shared_ptr<Exchanged> shared;
};

class InProcessBody final : public Body {
 public:
  explicit InProcessBody(std::shared_ptr<Handle> handle) : handle_(std::move(handle)) {}
  async::Task<Result<SharedBytes>> read_chunk() override {
    Exchanged& shared = *handle_->shared;
    Pipe& pipe = shared.answer_body;
    while (pipe.chunks.empty()) {
      if (shared.failed) co_return fail(*shared.failed);
      if (pipe.ended) co_return SharedBytes();
      CO_TRY(co_await pipe.changed.wait());
    }
    SharedBytes chunk = std::move(pipe.chunks.front());
    pipe.chunks.pop_front();
    pipe.bytes -= chunk->size();
    pipe.changed.wake_all();
    co_return chunk;
  }
  const Headers& trailers() const override { return handle_->shared->trailers; }

 private:
  std::shared_ptr<Handle> handle_;
};

class InProcessCall final : public Call {
 public:
  explicit InProcessCall(std::shared_ptr<Handle> handle) : handle_(std::move(handle)) {}
  async::Task<Result<>> write(SharedBytes bytes) override {
    Exchanged& shared = *handle_->shared;
    if (shared.request_body.ended) co_return fail(Code::kUnavailable, "request is over");
    if (!bytes || bytes->empty()) co_return Result<>();
    shared.request_body.push(std::move(bytes));
    while (shared.request_body.bytes > shared.queue_bytes_max) {
      if (shared.answer_body.ended) co_return fail(Code::kUnavailable, "handler ended early");
      CO_TRY(co_await shared.request_body.changed.wait());
    }
    co_return Result<>();
  }
  async::Task<Result<>> finish() override {
    handle_->shared->request_body.end();
    co_return Result<>();
  }
  async::Task<Result<Response>> response() override {
    Exchanged& shared = *handle_->shared;
    CO_TRY(co_await shared.head_ready.wait());
    if (shared.status == 0) co_return fail(shared.failed.value_or(Error(Code::kUnavailable, "handler ended early")));
    Response response{.status = shared.status, .headers = shared.headers};
    response.body = std::make_unique<InProcessBody>(handle_);
    co_return response;
  }

 private:
  std::shared_ptr<Handle> handle_;
};

std::unique_ptr<Call> start_call(async::Scope& background, async::Executor executor, Handler& handler, Request request) {
  auto shared = std::make_shared<Exchanged>(executor, handler);
  request.peer.in_process = true;
  if (request.peer.address.empty()) request.peer.address = "in-process";
  shared->request = std::move(request);
  background.spawn(keep(shared));
  return std::make_unique<InProcessCall>(std::make_shared<Handle>(std::move(shared)));
}

}  // namespace

async::Task<Result<Response>> call_in_process(async::Scope& background, Handler& handler, Request request, SharedBytes body) {
  async::Executor executor = co_await async::this_executor();
  if (body) request.headers.set("Content-Length", std::to_string(body->size()));
  std::unique_ptr<Call> call = start_call(background, executor, handler, std::move(request));
  // The handler may have answered without the body: then the answer counts.
  if (body) (void)co_await call->write(std::move(body));
  CO_TRY(co_await call->finish());
  co_return co_await call->response();
}

InProcessClient::InProcessClient(async::Scope& background, Handler& handler, Headers headers)
    : background_(background), handler_(handler), headers_(std::move(headers)) {}

Request InProcessClient::make_request(ClientRequest& from) const {
  Request out;
  out.method = std::move(from.method);
  out.target = std::move(from.target);
  out.headers = std::move(from.headers);
  for (const Headers::Field& field : headers_)
    if (!out.headers.find(field.name)) out.headers.add(field.name, field.value);
  return out;
}

async::Task<Result<Response>> InProcessClient::request(ClientRequest request) {
  SharedBytes body = request.body;
  co_return co_await call_in_process(background_, handler_, make_request(request), std::move(body));
}

async::Task<Result<std::unique_ptr<Call>>> InProcessClient::open(ClientRequest request) {
  async::Executor executor = co_await async::this_executor();
  co_return start_call(background_, executor, handler_, make_request(request));
}

}  // namespace monopod::http
