#include "proxy/codec/client_hello.h"

#include <cstdint>

#include "base/strings.h"
#include "proxy/io/slab.h"

namespace monopod::proxy {
namespace {

// Big-endian numbers and vectors off the front of a text; good() turns false at its end.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  std::size_t number(int bytes) {
    std::size_t out = 0;
    for (std::string_view taken = take(static_cast<std::size_t>(bytes)); char c : taken) out = out << 8 | static_cast<unsigned char>(c);
    return out;
  }
  std::string_view take(std::size_t n) {
    if (n > text_.size()) {
      good_ = false;
      text_ = {};
      return {};
    }
    std::string_view out = text_.substr(0, n);
    text_.remove_prefix(n);
    return out;
  }
  bool good() const { return good_; }
  bool empty() const { return text_.empty(); }

 private:
  std::string_view text_;
  bool good_ = true;
};

ServerName read_name(std::string_view extension) {
  Reader outer(extension);
  Reader list(outer.take(outer.number(2)));
  while (list.good() && !list.empty()) {
    std::size_t type = list.number(1);
    std::string_view name = list.take(list.number(2));
    if (!list.good() || type != 0) continue;
    bool sound = !name.empty() && name.size() <= 255;
    for (char c : name) sound = sound && static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f;
    if (sound) return {ServerName::kFound, to_lower(name)};
  }
  return {ServerName::kAbsent};
}

ServerName read_hello(std::string_view body) {
  Reader hello(body);
  hello.take(2 + 32);             // version, random
  hello.take(hello.number(1));    // session
  hello.take(hello.number(2));    // cipher suites
  hello.take(hello.number(1));    // compression
  Reader extensions(hello.take(hello.number(2)));
  while (extensions.good() && !extensions.empty()) {
    std::size_t type = extensions.number(2);
    std::string_view extension = extensions.take(extensions.number(2));
    if (extensions.good() && type == 0) return read_name(extension);
  }
  return {ServerName::kAbsent};
}

}  // namespace

ServerName find_server_name(std::string_view bytes) {
  // The handshake message may lie in several records.
  std::string message;
  while (!bytes.empty()) {
    if (bytes[0] != 0x16) return {};
    if (bytes.size() >= 2 && bytes[1] != 3) return {};
    if (bytes.size() < 5) return {ServerName::kPartial};
    std::size_t size = static_cast<std::size_t>(static_cast<unsigned char>(bytes[3])) << 8 | static_cast<unsigned char>(bytes[4]);
    if (size == 0 || size > (16U << 10)) return {};
    message += bytes.substr(5, size);
    if (message[0] != 1) return {};
    if (message.size() >= 4) {
      std::size_t want = static_cast<std::size_t>(static_cast<unsigned char>(message[1])) << 16 | static_cast<std::size_t>(static_cast<unsigned char>(message[2])) << 8 |
                         static_cast<unsigned char>(message[3]);
      if (want + 64 > kSlabBytes) return {};
      if (message.size() >= want + 4) return read_hello(std::string_view(message).substr(4, want));
    }
    if (bytes.size() < 5 + size) return {ServerName::kPartial};
    bytes.remove_prefix(5 + size);
  }
  return {ServerName::kPartial};
}

}  // namespace monopod::proxy
