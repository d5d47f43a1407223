#include "proxy/h2/stream.h"

#include <charconv>
#include <cstring>

#include "base/strings.h"
#include "proxy/h2/core.h"
#include "proxy/stream/head_edits.h"

namespace monopod::proxy {
namespace {

constexpr std::size_t kFieldOverhead = 32;  // RFC 9113 section 6.5.2

// What a head of HTTP/1 says about its connection has no place in a frame (RFC 9113 section 8.2.2).
bool is_of_connection(FieldName id) {
  return id == FieldName::kConnection || id == FieldName::kTransferEncoding || id == FieldName::kKeepAlive || id == FieldName::kProxyConnection || id == FieldName::kUpgrade;
}

}  // namespace

H2Stream::H2Stream(H2Core& core) : core_(&core), host_(core.worker()) {}

H2Stream::~H2Stream() {
  if (core_ != nullptr) core_->forget(*this);
  host_.give_text(std::move(content_.tail()));
  host_.give_text(std::move(trailers_in_));
}

void H2Stream::add_data(std::string_view bytes) {
  if (content_.size() == 0 && content_.tail().capacity() < bytes.size()) content_.assign(host_.take_text());
  content_.tail().append(bytes);
}

Moved H2Stream::take_head(char* into, Head& head) {
  if (!heads_ || !heads_->finished) return {lost() ? Moved::kFailed : Moved::kBlocked};
  heads_->copy_to(into, head);
  std::unique_ptr<HeadList> taken = std::move(heads_);
  heads_ = std::move(taken->next);
  if (!heads_) last_ = nullptr;
  host_.give_head(std::move(taken));
  return {Moved::kBytes, head.size};
}

// f(name in lower case, value, secret) for each field that goes on.
template <typename F>
void H2Stream::each_field(const Head& head, const HeadEdits& edits, std::string_view target, F f) {
  bool server = core_->side() == H2Core::Side::kServer;
  char status[4];
  if (server) {
    std::to_chars(status, status + sizeof status, head.status);
    f(":status", std::string_view(status, 3), false);
  } else {
    f(":method", head.wants_upgrade ? std::string_view("CONNECT") : head.method, false);
    if (head.wants_upgrade) f(":protocol", "websocket", false);  // RFC 8441 section 5
    f(":scheme", core_->socket().tls() ? "https" : "http", false);
    f(":path", target, false);
    f(":authority", edits.find(head, "host"), false);
  }
  std::string lower;
  edits.each(head, [&](std::string_view name, std::string_view value, FieldName id, bool secret) {
    if (is_of_connection(id) || (id == FieldName::kHost && !server)) return;
    if (!head.listed) name = lower = to_lower(name);
    f(name, value, secret);
  });
}

bool H2Stream::send_head(const Head& head, const HeadEdits& edits, std::string_view target, bool ends) {
  if (lost() || core_->terminated()) return false;
  bool server = core_->side() == H2Core::Side::kServer;
  bool interim = server && head.status < 200;
  if (!interim) {
    head_sent_ = true;
    output_done_ = ends;
  }
  if (!server) asked_ = head.wants_upgrade ? MessageRules::Asked::kConnect : head.method == "HEAD" ? MessageRules::Asked::kHead : MessageRules::Asked::kOther;
  if (!server && !core_->has_room_for_stream()) {
    each_field(head, edits, target, [this](std::string_view name, std::string_view value, bool secret) {
      parked_.append(name).append(1, '\0').append(value).append(1, '\0').append(1, secret ? '1' : '0');
    });
    return true;
  }
  core_->begin_fields();
  each_field(head, edits, target, [this](std::string_view name, std::string_view value, bool secret) { core_->add_field(name, value, secret); });
  if (server) core_->end_response(*this, ends, interim);
  else core_->end_request(*this, ends);
  return true;
}

bool H2Stream::send_parked() {
  if (parked_.empty() || lost()) return false;
  core_->begin_fields();
  for (std::string_view rest = parked_; !rest.empty();) {
    std::size_t name = rest.find('\0'), value = rest.find('\0', name + 1);
    core_->add_field(rest.substr(0, name), rest.substr(name + 1, value - name - 1), rest[value + 1] == '1');
    rest.remove_prefix(value + 2);
  }
  parked_ = {};
  core_->end_request(*this, output_done_);
  want_output();
  return true;
}

Moved H2Stream::read(char* into, std::size_t size) {
  std::size_t n = std::min(size, content_.size());
  if (n == 0) return {input_ended_ ? Moved::kEnd : lost() ? Moved::kFailed : Moved::kBlocked};
  std::memcpy(into, content_.front(), n);
  content_.pop(n);
  if (!lost() && !input_ended_) core_->consume(*this, n);
  return {Moved::kBytes, n};
}

// Frames take from parts what windows and the connection's output have room for, now or never.
Moved H2Stream::write(std::span<const iovec> parts, const Ending* ending) {
  if (lost() || !head_sent_) return {Moved::kFailed};
  std::size_t size = 0;
  for (const iovec& part : parts) size += part.iov_len;
  if (output_done_) return {size == 0 ? Moved::kBytes : Moved::kFailed};
  if (id == 0) {  // its head waits
    blocked_ = true;
    return {Moved::kBlocked};
  }
  lent_ = parts;
  lent_at_ = 0;
  lent_bytes_ = size;
  ending_ = ending;
  bool good = core_->pump(*this);
  std::size_t taken = size - std::exchange(lent_bytes_, 0);
  lent_ = {};
  ending_ = nullptr;
  if (!good) return {Moved::kFailed};
  blocked_ = taken < size || (ending != nullptr && !output_done_);
  if (taken == 0 && blocked_) return {Moved::kBlocked};
  return {Moved::kBytes, taken};
}

std::string_view H2Stream::take_lent(std::size_t size) {
  while (lent_at_ == lent_.front().iov_len) {
    lent_ = lent_.subspan(1);
    lent_at_ = 0;
  }
  const iovec& part = lent_.front();
  std::string_view out(static_cast<const char*>(part.iov_base) + lent_at_, std::min(size, part.iov_len - lent_at_));
  lent_at_ += out.size();
  lent_bytes_ -= out.size();
  return out;
}

void H2Stream::want_output() {
  if (std::exchange(blocked_, false)) core_->note(*this, EPOLLOUT);
}

void H2Stream::on_closed() {
  user_ = nullptr;
  discards = true;
  if (core_ != nullptr) core_->user_gone(*this);
}

int H2Stream::carrier_fd() const { return core_ == nullptr ? -1 : core_->socket().fd(); }

std::optional<bool> H2Stream::takes_extended_connect() const { return core_ == nullptr ? std::optional(false) : core_->takes_extended_connect(); }

bool H2Stream::connected() const { return core_ != nullptr && core_->connected(); }

HeadList& H2Stream::begin_head(std::unique_ptr<HeadList> list) {
  list->begin();
  std::unique_ptr<HeadList>& place = last_ == nullptr ? heads_ : last_->next;
  place = std::move(list);
  last_ = place.get();
  return *last_;
}

bool H2Stream::finish_request_head(bool ends) {
  head_done_ = true;
  input_ended_ = ends;
  return last_->finish_request(ends);
}

bool H2Stream::finish_response_head(bool ends) {
  if (!last_->finish_response(asked_ == MessageRules::Asked::kHead, ends)) return false;
  head_done_ = last_->head().status >= 200;
  input_ended_ = ends;
  return true;
}

// What may not stand in a trailer of HTTP/1 does not go on.
bool H2Stream::add_trailer(std::string_view name, std::string_view value) {
  trailer_bytes_ += name.size() + value.size() + kFieldOverhead;
  if (trailer_bytes_ > kHeadBytesMax) return false;
  if (trailers_in_.empty()) trailers_in_ = host_.take_text();
  std::size_t before = trailers_in_.size();
  trailers_in_.append(name).append(": ").append(value).append("\r\n");
  if (!is_trailer_line(std::string_view(trailers_in_).substr(before))) trailers_in_.resize(before);
  return true;
}

}  // namespace monopod::proxy
