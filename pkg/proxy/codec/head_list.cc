#include "proxy/codec/head_list.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "proxy/codec/scan.h"

namespace monopod::proxy {
namespace {

constexpr std::size_t kFieldOverhead = 32;  // RFC 9113 section 6.5.2

bool is_word(std::string_view text) {
  return !text.empty() && find_word_end(text.data(), text.data() + text.size()) == text.data() + text.size();
}

}  // namespace

void HeadList::begin() {
  size_ = 0;
  full_ = false;
  cookie_.clear();
  cookie_secret_ = false;
  method_ = path_ = authority_ = status_ = protocol_ = {};
  list_bytes_ = fields_ = 0;
  in_fields_ = has_host_ = has_length_ = finished = false;
  head_.count = 0;
  head_.line_end = 0;
  next = nullptr;
}

HeadList::Part* HeadList::pseudo(std::string_view name) {
  return name == ":method" ? &method_ : name == ":path" ? &path_ : name == ":authority" ? &authority_ : name == ":status" ? &status_ : name == ":protocol" ? &protocol_ : nullptr;
}

// Behind the pseudo-fields; Host comes first, as whoever reads HTTP/1 may expect (RFC 9110 section 7.2).
void HeadList::begin_fields() {
  if (std::exchange(in_fields_, true)) return;
  head_.line_end = static_cast<std::uint16_t>(size_);
  if (authority_.size > 0) add_line("host", text(authority_));
}

void HeadList::append(std::string_view bytes) {
  full_ = full_ || bytes.size() > kHeadBytesMax - size_;
  if (full_ || bytes.empty()) return;
  std::memcpy(text_.get() + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

void HeadList::add_line(std::string_view name, std::string_view value, bool secret) {
  std::size_t need = name.size() + value.size() + 4;
  full_ = full_ || need > kHeadBytesMax - size_;
  if (full_) return;
  FieldSpan& f = head_.fields[head_.count++];
  std::size_t value_begin = size_ + name.size() + 2;
  f = {.begin = static_cast<std::uint16_t>(size_), .name_size = static_cast<std::uint16_t>(name.size()), .value_begin = static_cast<std::uint16_t>(value_begin),
       .value_size = static_cast<std::uint16_t>(value.size()), .end = static_cast<std::uint16_t>(size_ + need), .id = name_id(name), .secret = secret};
  char* at = std::copy_n(name.data(), name.size(), text_.get() + size_);
  *at++ = ':';
  *at++ = ' ';
  at = std::copy_n(value.data(), value.size(), at);
  *at++ = '\r';
  *at = '\n';
  size_ += need;
}

bool HeadList::add(std::string_view name, std::string_view value, bool secret) {
  list_bytes_ += name.size() + value.size() + kFieldOverhead;
  ++fields_;
  if (oversized()) return true;
  if (name.empty()) return false;
  if (name[0] == ':') {
    Part* to = pseudo(name);
    if (to == nullptr) return name == ":scheme";
    *to = {size_, value.size()};
    append(value);
    return true;
  }
  begin_fields();
  if (name == "cookie") {  // crumbs become one line again (RFC 9113 section 8.2.3)
    if (!cookie_.empty()) cookie_ += "; ";
    cookie_ += value;
    cookie_secret_ = cookie_secret_ || secret;
    return true;
  }
  if (name == "host") {
    if (authority_.size > 0) return value == text(authority_);
    has_host_ = true;
  }
  if (name == "content-length") has_length_ = true;
  add_line(name, value, secret);
  return true;
}

bool HeadList::finish_request(bool ends) {
  std::string_view method = text(method_), path = text(path_);
  bool extended = protocol_.size > 0;  // of CONNECT alone (RFC 8441 section 4)
  if (extended && method != "CONNECT") return false;
  if (method == "CONNECT" && !extended) path = "*";
  if (!is_word(method) || !is_word(path) || (path[0] != '/' && path != "*") || (authority_.size > 0 && has_host_)) return false;
  bool star = path == "*";
  begin_fields();
  if (!cookie_.empty()) add_line("cookie", cookie_, cookie_secret_);
  if (extended) add_line("upgrade", text(protocol_));
  append("\r\n");
  head_.base = text_.get();
  head_.size = size_;
  head_.method = extended ? std::string_view("GET") : text(method_);
  head_.target = star ? std::string_view("*") : text(path_);
  judge_listed_request(head_, ends);
  head_.extended_connect = extended;
  if (extended) {
    head_.wants_upgrade = true;
    head_.framing = Framing::kNone;  // what follows is the tunnel's
    if (!equals_lowercase(text(protocol_), "websocket")) head_.refusal = {501, "no protocol but websocket"};
  }
  if (full_) head_.refusal = {431, "head too large"};
  return finished = true;
}

bool HeadList::finish_response(bool to_head, bool ends) {
  std::string_view status = text(status_);
  if (status.size() != 3 || status == "101" || oversized()) return false;
  head_.status = (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0');
  bool interim = head_.status < 200;
  if (interim && ends) return false;
  begin_fields();
  if (ends && !has_length_ && !to_head && head_.status != 204 && head_.status != 304) add_line("content-length", "0");
  append("\r\n");
  head_.base = text_.get();
  head_.size = size_;
  return finished = !full_ && judge_listed_response(head_, to_head, ends);
}

void HeadList::copy_to(char* into, Head& out) const {
  std::memcpy(into, text_.get(), head_.size);
  auto moved = [&](std::string_view part) {
    bool inside = part.data() >= head_.base && part.data() < head_.base + head_.size;
    return inside ? std::string_view(into + (part.data() - head_.base), part.size()) : part;
  };
  out.base = into;
  out.size = head_.size;
  out.line_end = head_.line_end;
  out.count = head_.count;
  std::copy_n(head_.fields.begin(), head_.count, out.fields.begin());
  out.method = moved(head_.method);
  out.target = moved(head_.target);
  out.host = moved(head_.host);
  out.path = moved(head_.path);
  out.status = head_.status;
  out.reason = {};
  out.listed = true;
  out.absolute_target = out.http_1_0 = out.keep_alive = false;
  out.wants_upgrade = head_.wants_upgrade;
  out.extended_connect = head_.extended_connect;
  out.expects_continue = head_.expects_continue;
  out.framing = head_.framing;
  out.length = head_.length;
  out.refusal = head_.refusal;
}

}  // namespace monopod::proxy
