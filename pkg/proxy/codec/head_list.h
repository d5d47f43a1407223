// A head that comes as a list of names and values (HTTP/2) becomes the spans that a head of HTTP/1 has: fields stand as lines, so that they may leave
// by reference, and are judged by the same rules. There is no first line.
//
//   begin() ─► add()... ─► finish_request() | finish_response() ─► copy_to(slab, head)
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "proxy/codec/head.h"

namespace monopod::proxy {

class HeadList {
 public:
  void begin();
  // MessageRules sees to it that pseudo-fields come first, and to the bytes of names and values. secret: FieldSpan's. False: the peer broke a rule.
  bool add(std::string_view name, std::string_view value, bool secret = false);
  // False: malformed, the stream's end. Else head() is judged; its refusal, where it has one, is to be answered. ends: no content follows.
  bool finish_request(bool ends);
  bool finish_response(bool to_head, bool ends);
  // The list is larger than it may be: status 431.
  bool oversized() const { return full_ || list_bytes_ > kHeadBytesMax || fields_ > kFieldsMax - 8; }
  std::size_t list_bytes() const { return list_bytes_; }
  const Head& head() const { return head_; }
  // into: room for kHeadBytesMax.
  void copy_to(char* into, Head& out) const;

  bool finished = false;
  std::unique_ptr<HeadList> next;  // came behind it

 private:
  struct Part {
    std::size_t at = 0, size = 0;
  };
  Part* pseudo(std::string_view name);
  std::string_view text(Part part) const { return {text_.get() + part.at, part.size}; }
  void append(std::string_view bytes);
  void begin_fields();
  void add_line(std::string_view name, std::string_view value, bool secret = false);

  std::unique_ptr<char[]> text_ = std::make_unique_for_overwrite<char[]>(kHeadBytesMax);
  std::size_t size_ = 0;
  bool full_ = false;
  std::string cookie_;
  bool cookie_secret_ = false;
  Part method_{}, path_{}, authority_{}, status_{}, protocol_{};
  std::size_t list_bytes_ = 0, fields_ = 0;
  bool in_fields_ = false, has_host_ = false, has_length_ = false;
  Head head_;
};

}  // namespace monopod::proxy
