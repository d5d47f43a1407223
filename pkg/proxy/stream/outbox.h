// Bytes on their way out, by reference: parts lie in slabs that stay as they are until all is sent.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/io/socket.h"

namespace monopod::proxy {

class Outbox {
 public:
  // Neighbours become one part.
  void add(std::string_view bytes) {
    if (bytes.empty()) return;
    if (!parts_.empty()) {
      iovec& last = parts_.back();
      if (static_cast<const char*>(last.iov_base) + last.iov_len == bytes.data()) {
        last.iov_len += bytes.size();
        return;
      }
    }
    parts_.push_back({const_cast<char*>(bytes.data()), bytes.size()});
  }
  // A stream's end is written as well.
  static bool wants_end(const Socket& socket, bool whole) { return whole && socket.is_stream() && !socket.stream()->ended(); }
  std::string text() const {
    std::string out;
    for (std::size_t i = at_; i < parts_.size(); ++i) out.append(static_cast<const char*>(parts_[i].iov_base), parts_[i].iov_len);
    return out;
  }
  template <typename F>
  void each(F f) const {
    for (std::size_t i = at_; i < parts_.size(); ++i) f(std::string_view(static_cast<const char*>(parts_[i].iov_base), parts_[i].iov_len));
  }
  bool empty() const { return at_ == parts_.size(); }
  void clear() {
    parts_.clear();
    at_ = 0;
  }
  // kBytes: all of it is sent; kBlocked: not yet. sent grows by what left. ending: of a stream's message, which ends with it.
  Moved::Kind flush(Socket& socket, std::uint64_t& sent, const Ending* ending = nullptr) {
    while (!empty() || wants_end(socket, ending != nullptr)) {
      Moved moved = socket.write({parts_.data() + at_, parts_.size() - at_}, ending);
      if (moved.kind != Moved::kBytes) return moved.kind;
      sent += moved.bytes;
      for (std::size_t left = moved.bytes; left > 0;) {
        iovec& part = parts_[at_];
        std::size_t n = std::min(left, part.iov_len);
        part.iov_base = static_cast<char*>(part.iov_base) + n;
        part.iov_len -= n;
        left -= n;
        if (part.iov_len == 0) ++at_;
      }
    }
    clear();
    return Moved::kBytes;
  }

 private:
  std::vector<iovec> parts_;  // keeps its room between uses
  std::size_t at_ = 0;
};

}  // namespace monopod::proxy
