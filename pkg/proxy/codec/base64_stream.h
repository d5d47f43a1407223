// Base64 (RFC 4648 section 4) of bytes that come in pieces. A text may end with padding and go on, as those of gRPC-Web do: each message is padded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace monopod::proxy {

class Base64Decoder {
 public:
  // Appends what the groups of four say that are whole. False: it is no base64; nothing more is to be asked then.
  bool append(std::string_view text, std::string& out);
  // No group is begun.
  bool whole() const { return held_ == 0; }

 private:
  std::uint32_t bits_ = 0;
  std::uint8_t held_ = 0, padding_ = 0;
};

class Base64Encoder {
 public:
  void append(std::string_view bytes, std::string& out);
  // What is left, padded.
  void finish(std::string& out);

 private:
  std::uint32_t bits_ = 0;
  std::uint8_t held_ = 0;  // bytes
};

}  // namespace monopod::proxy
