#include "proxy/h2/stream.h"

#include <charconv>
#include <cstring>

#include "base/strings.h"
#include "http/reason.h"
#include "proxy/codec/scan.h"
#include "proxy/h2/core.h"
#include "proxy/stream/http_session.h"

namespace monopod::proxy {
namespace {

constexpr std::size_t kFieldOverhead = 32;  // RFC 9113 section 6.5.2

nghttp2_nv pair(std::string_view name, std::string_view value) {
  // nghttp2 does not write through these pointers.
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

bool has_control(std::string_view text) { return find_control(text.data(), text.data() + text.size()) != text.data() + text.size(); }

bool is_word(std::string_view text) {
  return !text.empty() && find_word_end(text.data(), text.data() + text.size()) == text.data() + text.size();
}

// What a head of HTTP/1 says about its connection has no place in a frame (RFC 9113 section 8.2.2).
bool is_of_connection(FieldName id) {
  return id == FieldName::kConnection || id == FieldName::kTransferEncoding || id == FieldName::kKeepAlive || id == FieldName::kProxyConnection || id == FieldName::kUpgrade;
}

}  // namespace

Moved H2Stream::read(char* into, std::size_t size) {
  std::size_t n = std::min(size, text_.size());
  if (n == 0) return {lost() ? Moved::kFailed : Moved::kBlocked};
  std::memcpy(into, text_.front(), n);
  text_.pop(n);
  std::size_t freed = text_.size() == 0 ? unconsumed_ : std::min(n, unconsumed_);
  unconsumed_ -= freed;
  if (freed > 0 && !lost()) core_->consume(*this, freed);
  return {Moved::kBytes, n};
}

Moved H2Stream::write(std::span<const iovec> parts) {
  if (lost()) return {Moved::kFailed};
  if (out_.size() >= kStreamOutputBytesMax) {
    blocked_ = true;
    return {Moved::kBlocked};
  }
  std::size_t taken = 0;
  bool good = true;
  // A lone part needs no joining.
  if (pending_.empty() && parts.size() == 1) {
    taken = std::min(parts[0].iov_len, kStreamOutputBytesMax);
    good = decode({static_cast<const char*>(parts[0].iov_base), taken});
  } else {
    std::string all = std::exchange(pending_, {});
    for (const iovec& part : parts) {
      std::size_t n = std::min(part.iov_len, kStreamOutputBytesMax - taken);
      all.append(static_cast<const char*>(part.iov_base), n);
      taken += n;
    }
    good = decode(all);
  }
  if (!good) {
    core_->reset(*this, NGHTTP2_INTERNAL_ERROR);
    return {Moved::kFailed};
  }
  core_->schedule();
  return {Moved::kBytes, taken};
}

void H2Stream::end_writing() {
  if (lost() || output_ == Output::kDone) return;
  if (output_ == Output::kBody && framing_ == Framing::kUntilClose) {
    output_ = Output::kDone;
    output_done_ = true;
    core_->schedule();
  }
}

void H2Stream::on_closed() {
  user_ = nullptr;
  discards = true;
  if (core_ != nullptr) core_->user_gone(*this);
}

int H2Stream::carrier_fd() const { return core_ == nullptr ? -1 : core_->socket().fd(); }

bool H2Stream::connected() const { return core_ != nullptr && core_->connected(); }

void H2Stream::begin_head() {
  status_.clear();
  lines_.clear();
  list_bytes_ = fields_ = 0;
  has_length_ = false;
}

bool H2Stream::add_field(std::string_view name, std::string_view value) {
  list_bytes_ += name.size() + value.size() + kFieldOverhead;
  ++fields_;
  if (oversized()) return true;
  if (has_control(value) || name.empty()) return false;
  if (name[0] == ':') {
    std::string* to = name == ":method" ? &method_ : name == ":path" ? &path_ : name == ":authority" ? &authority_ : name == ":status" ? &status_ : nullptr;
    if (to != nullptr) *to = value;
    return to != nullptr || name == ":scheme";
  }
  if (!std::ranges::all_of(name, is_token_byte)) return false;
  if (name == "cookie") {  // crumbs become one line again (RFC 9113 section 8.2.3)
    if (!cookie_.empty()) cookie_ += "; ";
    cookie_ += value;
    return true;
  }
  if (name == "host") {
    if (!authority_.empty()) return value == authority_;
    has_host_ = true;
  }
  if (name == "content-length") has_length_ = true;
  lines_.append(name).append(": ").append(value).append("\r\n");
  return true;
}

bool H2Stream::finish_request_head(bool ends) {
  if (method_ == "CONNECT") path_ = "*";
  if (!is_word(method_) || !is_word(path_) || (path_[0] != '/' && path_ != "*") || (!authority_.empty() && has_host_)) return false;
  head_request = method_ == "HEAD";
  chunked_in_ = !ends && !has_length_;
  std::string& text = text_.tail();
  text = cat(method_, " ", path_, " HTTP/1.1\r\n");
  if (!authority_.empty()) text.append("host: ").append(authority_).append("\r\n");
  text += lines_;
  if (!cookie_.empty()) text.append("cookie: ").append(cookie_).append("\r\n");
  if (chunked_in_) text += "transfer-encoding: chunked\r\n";
  text += "connection: close\r\n\r\n";  // a stream is for one request
  head_done_ = true;
  for (std::string* s : {&method_, &path_, &authority_, &lines_, &cookie_}) *s = {};
  if (ends) input_ended_ = true;
  return true;
}

bool H2Stream::finish_response_head(bool ends) {
  if (status_.size() != 3 || status_ == "101" || oversized()) return false;
  bool interim = status_[0] == '1';
  if (interim && ends) return false;
  int status = (status_[0] - '0') * 100 + (status_[1] - '0') * 10 + (status_[2] - '0');
  std::string& text = text_.tail();
  text.append("HTTP/1.1 ").append(status_).append(" ").append(http::reason_phrase(status)).append("\r\n").append(lines_);
  bool bodiless = interim || head_request || status == 204 || status == 304;
  if (!bodiless && ends && !has_length_) text += "content-length: 0\r\n";
  chunked_in_ = !bodiless && !ends && !has_length_;
  if (chunked_in_) text += "transfer-encoding: chunked\r\n";
  text += "\r\n";
  head_done_ = !interim;
  if (ends) input_ended_ = true;
  return true;
}

// What may not stand in a trailer of HTTP/1 does not go on.
bool H2Stream::add_trailer(std::string_view name, std::string_view value) {
  trailer_bytes_ += name.size() + value.size() + kFieldOverhead;
  if (trailer_bytes_ > kHeadBytesMax) return false;
  std::string line = cat(name, ": ", value, "\r\n");
  if (is_trailer_line(line)) trailers_in_ += line;
  return true;
}

void H2Stream::add_data(std::string_view bytes) {
  unconsumed_ += bytes.size();
  if (!chunked_in_) {
    text_.tail().append(bytes);
    return;
  }
  char size[16];
  auto [end, error] = std::to_chars(size, size + sizeof size, bytes.size(), 16);
  text_.tail().append(size, end).append("\r\n").append(bytes).append("\r\n");
}

void H2Stream::end_input() {
  if (std::exchange(input_ended_, true)) return;
  if (chunked_in_) text_.tail().append("0\r\n").append(trailers_in_).append("\r\n");
}

void H2Stream::move_output(std::string& into, std::size_t size) {
  into.append(out_.front(), size);
  out_.pop(size);
  if (blocked_ && out_.size() <= kStreamOutputBytesMax / 2) {
    blocked_ = false;
    core_->note(*this, EPOLLOUT);
  }
}

bool H2Stream::decode(std::string_view bytes) {
  while (!bytes.empty() && output_ != Output::kDone) {
    std::size_t before = bytes.size();
    Output state = output_;
    if (!(output_ == Output::kHead ? decode_head(bytes) : decode_body(bytes))) return false;
    if (bytes.size() == before && output_ == state) break;
  }
  if (output_ != Output::kDone) pending_.assign(bytes);
  return true;
}

bool H2Stream::decode_head(std::string_view& bytes) {
  Head head;
  bool server = core_->side() == H2Core::Side::kServer;
  Parsed parsed = server ? parse_response_head(bytes.data(), bytes.size(), head_request, head) : parse_request_head(bytes.data(), bytes.size(), head);
  if (parsed == Parsed::kPartial) return true;
  if (parsed == Parsed::kBad) return false;
  bytes.remove_prefix(head.size);
  return submit_head(head);
}

bool H2Stream::submit_head(const Head& head) {
  bool server = core_->side() == H2Core::Side::kServer;
  std::vector<nghttp2_nv> fields;
  fields.reserve(head.count + 4);
  std::string status;
  if (server) {
    status = cat(head.status);
    fields.push_back(pair(":status", status));
  } else {
    fields.push_back(pair(":method", head.method));
    fields.push_back(pair(":scheme", core_->socket().tls() ? "https" : "http"));
    fields.push_back(pair(":path", head.path));
    fields.push_back(pair(":authority", head.host));
    head_request = head.method == "HEAD";
  }
  std::string names;  // in lower case; never grows past its room, as views into it are held
  names.reserve(head.size);
  for (std::size_t i = 0; i < head.count; ++i) {
    const FieldSpan& f = head.fields[i];
    bool trailers_wanted = f.id == FieldName::kTe && !server && equals_lowercase(head.value(f), "trailers");
    if ((f.dropped && !trailers_wanted) || is_of_connection(f.id) || (f.id == FieldName::kHost && !server)) continue;
    std::size_t begin = names.size();
    for (char c : head.name(f)) names += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    fields.push_back(pair(std::string_view(names).substr(begin), head.value(f)));
  }
  if (server && head.status < 200)
    return nghttp2_submit_headers(core_->session(), NGHTTP2_FLAG_NONE, id, nullptr, fields.data(), fields.size(), nullptr) == 0;
  framing_ = head.framing;
  left_ = head.length;
  bool with_body = framing_ != Framing::kNone;
  if (framing_ == Framing::kLength) out_.tail().reserve(static_cast<std::size_t>(std::min<std::uint64_t>(left_, kStreamOutputBytesMax)));
  output_ = with_body ? Output::kBody : Output::kDone;
  output_done_ = !with_body;
  return server ? core_->submit_response(*this, fields, with_body) : core_->submit_request(*this, fields, with_body);
}

bool H2Stream::decode_body(std::string_view& bytes) {
  switch (framing_) {
    case Framing::kNone: output_ = Output::kDone; break;
    case Framing::kUntilClose:
      keep_output(bytes);
      bytes = {};
      break;
    case Framing::kLength: {
      std::size_t n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size()));
      keep_output(bytes.substr(0, n));
      bytes.remove_prefix(n);
      left_ -= n;
      if (left_ == 0) output_ = Output::kDone;
      break;
    }
    case Framing::kChunked:
      while (!bytes.empty() && !chunks_.done()) {
        bool trailer = chunks_.in_trailer();
        ChunkedBody::Step step = chunks_.consume(bytes);
        if (step.bad) return false;
        if (step.bytes == 0) break;
        if (trailer && step.bytes > 2) trailers_out_.emplace_back(bytes.substr(0, step.bytes));
        keep_output(step.data);
        bytes.remove_prefix(step.bytes);
      }
      if (chunks_.done()) output_ = Output::kDone;
      break;
  }
  output_done_ = output_ == Output::kDone;
  if (deferred && (!output_empty() || output_done_)) {
    deferred = false;
    nghttp2_session_resume_data(core_->session(), id);
  }
  return true;
}

}  // namespace monopod::proxy
