#include "proxy/upstream/side_call.h"

#include <utility>

#include "base/strings.h"
#include "proxy/codec/head.h"
#include "proxy/io/socket.h"
#include "proxy/listener/worker.h"
#include "proxy/stream/head_edits.h"

namespace monopod::proxy {

std::string_view SideAnswer::field(std::string_view name) const {
  if (head)
    if (const FieldSpan* found = head->find(name)) return head->value(*found);
  for (std::string_view line : split(trailers, '\n')) {
    auto [key, value] = split_once(line, ':');
    if (value && equals_lowercase(key, name)) return trim(*value);
  }
  return {};
}

SideCall::SideCall(std::shared_ptr<Cluster> cluster, std::string request, Milliseconds timeout, SideCallUser* user) : cluster_(std::move(cluster)), user_(user), request_(std::move(request)) {
  Worker& worker = cluster_->worker();
  worker.wheel().arm(*this, worker.now_ms() + static_cast<std::uint64_t>(timeout.count()));
  worker.poller().again(*this);  // not from within who asks
}

SideCall::Handle SideCall::start(std::shared_ptr<Cluster> cluster, std::string request, Milliseconds timeout, SideCallUser& user) {
  return Handle(new SideCall(std::move(cluster), std::move(request), timeout, &user));  // retires itself
}

void SideCall::send(std::shared_ptr<Cluster> cluster, std::string request, Milliseconds timeout) {
  Worker& worker = cluster->worker();
  auto* owned = new SideCall(std::move(cluster), std::move(request), timeout, nullptr);  // retires itself
  worker.add_stray(*owned);
}

SideCall::~SideCall() {
  cluster_->worker().remove_stray(*this);
  cluster_->stop_waiting(*this);
  release(false);
}

void SideCall::abandon() {
  user_ = nullptr;
  over();
}

void SideCall::over() {
  if (std::exchange(over_, true)) return;
  Worker& worker = cluster_->worker();
  cluster_->stop_waiting(*this);
  release(false);
  worker.wheel().disarm(*this);
  worker.poller().retire(this);
}

void SideCall::release(bool reusable) {
  if (upstream_ != nullptr) cluster_->give(std::exchange(upstream_, nullptr), reusable);
  if (std::exchange(counted_, false)) cluster_->end_request(*endpoint_);
}

void SideCall::end(std::string failure) {
  if (over_) return;
  answer_.failure = std::move(failure);
  if (!answer_.good() && endpoint_ != nullptr) cluster_->observe(*endpoint_, 0);
  if (answer_.good()) cluster_->observe(*endpoint_, answer_.status, cluster_->worker().now_ms() - begun_ms_);
  SideCallUser* user = std::exchange(user_, nullptr);
  SideAnswer answer = std::move(answer_);
  over();
  if (user != nullptr) user->on_side_answer(std::move(answer));
}

void SideCall::on_capacity() { cluster_->worker().poller().again(*this); }

bool SideCall::begin() {
  endpoint_ = cluster_->pick(cluster_->worker().rng().next(), nullptr);
  if (endpoint_ == nullptr && cluster_->awaits_names() && cluster_->wait(*this)) return false;
  if (endpoint_ == nullptr) return end("no endpoint"), false;
  if (!cluster_->begin_request(*endpoint_)) return end("requests overflow"), false;
  counted_ = true;
  std::optional<std::string> failure;
  begun_ms_ = cluster_->worker().now_ms();
  upstream_ = cluster_->take(*endpoint_, fresh_, failure);
  if (failure) return end(*failure), false;
  if (upstream_ == nullptr) {
    release(false);
    if (!cluster_->wait(*this)) end("pending overflow");
    return false;
  }
  upstream_->set_user(this);
  sent_ = 0;
  return true;
}

void SideCall::failed(std::string why) {
  bool stale = upstream_->reused() && !fresh_ && !answer_.head && answer_.text.empty();
  release(false);
  if (!stale) return end(std::move(why));
  fresh_ = true;  // its owner had closed it: that says nothing
  cluster_->worker().poller().again(*this);
}

void SideCall::drive() {
  if (over_ || (upstream_ == nullptr && !begin())) return;
  switch (upstream_->advance()) {
    case UpstreamConnection::Progress::kWaiting: return;
    case UpstreamConnection::Progress::kFailed: return failed(upstream_->failure());
    case UpstreamConnection::Progress::kReady: break;
  }
  if (!write()) return;
  while (!over_ && upstream_ != nullptr && read()) {
  }
}

bool SideCall::write() {
  if (upstream_->socket().is_stream()) return write_stream();
  while (sent_ < request_.size()) {
    iovec part{request_.data() + sent_, request_.size() - sent_};
    Moved moved = upstream_->socket().write({&part, 1});
    if (moved.kind == Moved::kBlocked) return upstream_->socket().can_read();
    if (moved.kind != Moved::kBytes) return failed("connection lost"), false;
    sent_ += moved.bytes;
  }
  return true;
}

// The request as head and content, without chunks.
bool SideCall::write_stream() {
  Socket& socket = upstream_->socket();
  if (sent_ == 0) {
    Head head;
    if (parse_request_head(request_.data(), request_.size(), head) != Parsed::kDone) return end("no sound request"), false;
    if (head.framing == Framing::kChunked && !std::exchange(unchunked_, true)) {
      std::string content;
      ChunkedBody chunks;
      for (std::size_t at = head.size; at < request_.size() && !chunks.done();) {
        ChunkedBody::Step step = chunks.consume(std::string_view(request_).substr(at));
        if (step.bad || step.bytes == 0) return end("no sound request"), false;
        content += step.data;
        at += step.bytes;
      }
      request_.replace(head.size, std::string::npos, content);
      (void)parse_request_head(request_.data(), request_.size(), head);  // its spans, where it is now
    }
    sent_ = head.size;
    if (!socket.stream()->send_head(head, HeadEdits(), head.target, sent_ == request_.size())) return failed("connection lost"), false;
  }
  while (!socket.stream()->ended()) {
    Ending ending;
    iovec part{request_.data() + sent_, request_.size() - sent_};
    Moved moved = socket.write(part.iov_len == 0 ? std::span<const iovec>() : std::span<const iovec>(&part, 1), &ending);
    if (moved.kind == Moved::kBlocked) return socket.can_read();
    if (moved.kind != Moved::kBytes) return failed("connection lost"), false;
    sent_ += moved.bytes;
  }
  return true;
}

bool SideCall::read_stream() {
  Socket& socket = upstream_->socket();
  if (!answer_.head) {
    auto head = std::make_unique<Head>();
    answer_.text.resize(kHeadBytesMax);
    Moved moved = socket.stream()->take_head(answer_.text.data(), *head);
    if (moved.kind == Moved::kBlocked) {
      answer_.text.clear();
      return false;
    }
    if (moved.kind != Moved::kBytes) return answer_.text.clear(), failed("the stream was reset"), false;
    if (head->status < 200) return true;
    answer_.status = head->status;
    answer_.head = std::move(head);  // text stays where it is: its spans point there
  }
  char bytes[8192];
  while (!socket.stream()->at_end()) {
    Moved moved = socket.read(bytes, sizeof bytes);
    if (moved.kind == Moved::kBlocked) return false;
    if (moved.kind == Moved::kEnd) break;
    if (moved.kind != Moved::kBytes) return failed("the answer was cut short"), false;
    answer_.body.append(bytes, moved.bytes);
    if (answer_.body.size() > kSideAnswerBytesMax) return end("the answer is too large"), false;
  }
  answer_.trailers = socket.stream()->trailers();
  release(false);
  end("");
  return false;
}

// True where something came.
bool SideCall::read() {
  if (!upstream_->socket().can_read()) return false;
  if (upstream_->socket().is_stream()) return read_stream();
  char bytes[8192];
  Moved moved = upstream_->socket().read(bytes, sizeof bytes);
  if (moved.kind == Moved::kBlocked) return false;
  if (moved.kind != Moved::kBytes) {
    bool whole = moved.kind == Moved::kEnd && answer_.head && answer_.head->framing == Framing::kUntilClose;
    return whole ? end("") : failed("the answer was cut short"), false;
  }
  std::string& into = answer_.head ? input_ : answer_.text;
  into.append(bytes, moved.bytes);
  if (answer_.body.size() + into.size() > kSideAnswerBytesMax) return end("the answer is too large"), false;
  return (answer_.head || read_head()) && read_body();
}

bool SideCall::read_head() {
  auto head = std::make_unique<Head>();
  bool to_head = request_.starts_with("HEAD ");
  switch (parse_response_head(answer_.text.data(), answer_.text.size(), to_head, *head)) {
    case Parsed::kPartial: return true;
    case Parsed::kBad: return end("no sound answer"), false;
    case Parsed::kDone: break;
  }
  if (head->status < 200) {
    answer_.text.erase(0, head->size);
    return answer_.text.empty() || read_head();
  }
  input_ = answer_.text.substr(head->size);
  answer_.status = head->status;
  left_ = head->length;
  answer_.head = std::move(head);  // text stays where it is: its spans point there
  return true;
}

bool SideCall::read_body() {
  if (!answer_.head) return true;
  bool done = false;
  switch (answer_.head->framing) {
    case Framing::kNone: done = true; break;
    case Framing::kStream: return true;  // not of a socket that carries text
    case Framing::kUntilClose: answer_.body += std::exchange(input_, {}); break;
    case Framing::kLength: {
      std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, input_.size()));
      answer_.body += input_.substr(0, n);
      input_.erase(0, n);
      left_ -= n;
      done = left_ == 0;
      break;
    }
    case Framing::kChunked:
      while (!input_.empty() && !chunked_.done()) {
        bool trailer = chunked_.in_trailer();
        ChunkedBody::Step step = chunked_.consume(input_);
        if (step.bad) return end("no sound answer"), false;
        if (step.bytes == 0) return true;
        answer_.body += step.data;
        if (trailer) answer_.trailers += input_.substr(0, step.bytes);
        input_.erase(0, step.bytes);
      }
      done = chunked_.done();
      break;
  }
  if (!done) return true;
  release(sent_ == request_.size() && input_.empty() && answer_.head->keep_alive && !answer_.head->http_1_0 && upstream_->socket().is_quiet());
  end("");
  return false;
}

}  // namespace monopod::proxy
