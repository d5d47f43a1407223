#include "proxy/h2/stream.h"

#include <charconv>
#include <cstring>

#include "base/strings.h"
#include "proxy/h2/core.h"
#include "proxy/stream/head_edits.h"

namespace monopod::proxy {
namespace {

constexpr std::uint8_t kLiteral = NGHTTP2_NV_FLAG_NO_COPY_NAME;
constexpr std::size_t kFieldOverhead = 32;  // RFC 9113 section 6.5.2

// What a head of HTTP/1 says about its connection has no place in a frame (RFC 9113 section 8.2.2).
bool is_of_connection(FieldName id) {
  return id == FieldName::kConnection || id == FieldName::kTransferEncoding || id == FieldName::kKeepAlive || id == FieldName::kProxyConnection || id == FieldName::kUpgrade;
}

}  // namespace

Moved H2Stream::take_head(char* into, Head& head) {
  if (!heads_ || !heads_->finished) return {lost() ? Moved::kFailed : Moved::kBlocked};
  heads_->copy_to(into, head);
  std::unique_ptr<HeadList> taken = std::move(heads_);
  heads_ = std::move(taken->next);
  if (!heads_) last_ = nullptr;
  if (core_ != nullptr) core_->worker().give_head(std::move(taken));
  return {Moved::kBytes, head.size};
}

bool H2Stream::send_head(const Head& head, const HeadEdits& edits, std::string_view target, bool ends) {
  if (lost()) return false;
  bool server = core_->side() == H2Core::Side::kServer;
  std::vector<nghttp2_nv>& fields = core_->scratch();
  fields.clear();
  char status[4];
  if (server) {
    std::to_chars(status, status + sizeof status, head.status);
    fields.push_back(h2_field(":status", {status, 3}, kLiteral));
  } else {
    fields.push_back(h2_field(":method", head.method, kLiteral));
    fields.push_back(h2_field(":scheme", core_->socket().tls() ? "https" : "http", kLiteral | NGHTTP2_NV_FLAG_NO_COPY_VALUE));
    fields.push_back(h2_field(":path", target, kLiteral));
    fields.push_back(h2_field(":authority", edits.find(head, "host"), kLiteral));
    to_head_ = head.method == "HEAD";
  }
  edits.each(head, [&](std::string_view name, std::string_view value, FieldName id) {
    if (is_of_connection(id) || (id == FieldName::kHost && !server)) return;
    fields.push_back(h2_field(name, value));  // nghttp2 copies it in lower case
  });
  if (server && head.status < 200) return core_->submit_interim(*this, fields);
  head_sent_ = true;
  output_done_ = ends;
  return server ? core_->submit_response(*this, fields, !ends) : core_->submit_request(*this, fields, !ends);
}

Moved H2Stream::read(char* into, std::size_t size) {
  std::size_t n = std::min(size, content_.size());
  if (n == 0) return {input_ended_ ? Moved::kEnd : lost() ? Moved::kFailed : Moved::kBlocked};
  std::memcpy(into, content_.front(), n);
  content_.pop(n);
  if (!lost() && !input_ended_) core_->consume(*this, n);
  return {Moved::kBytes, n};
}

// nghttp2 takes from parts what windows and the connection's output have room for, now or never.
Moved H2Stream::write(std::span<const iovec> parts, const Ending* ending) {
  if (lost() || !head_sent_) return {Moved::kFailed};
  std::size_t size = 0;
  for (const iovec& part : parts) size += part.iov_len;
  if (output_done_) return {size == 0 ? Moved::kBytes : Moved::kFailed};
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
  if (!last_->finish_response(to_head_, ends)) return false;
  head_done_ = last_->head().status >= 200;
  input_ended_ = ends;
  return true;
}

// What may not stand in a trailer of HTTP/1 does not go on.
bool H2Stream::add_trailer(std::string_view name, std::string_view value) {
  trailer_bytes_ += name.size() + value.size() + kFieldOverhead;
  if (trailer_bytes_ > kHeadBytesMax) return false;
  std::size_t before = trailers_in_.size();
  trailers_in_.append(name).append(": ").append(value).append("\r\n");
  if (!is_trailer_line(std::string_view(trailers_in_).substr(before))) trailers_in_.resize(before);
  return true;
}

}  // namespace monopod::proxy
