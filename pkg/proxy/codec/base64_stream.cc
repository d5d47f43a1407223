#include "proxy/codec/base64_stream.h"

namespace monopod::proxy {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// -1: none.
int value_of(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

}  // namespace

bool Base64Decoder::append(std::string_view text, std::string& out) {
  for (char c : text) {
    int value = c == '=' ? 0 : value_of(c);
    bool padding = c == '=';
    if (value < 0 || (padding ? held_ < 2 : padding_ > 0)) return false;
    bits_ = bits_ << 6 | static_cast<std::uint32_t>(value);
    padding_ = static_cast<std::uint8_t>(padding_ + (padding ? 1 : 0));
    if (++held_ < 4) continue;
    for (int i = 0; i < 3 - padding_; ++i) out += static_cast<char>(bits_ >> (16 - 8 * i));
    bits_ = 0;
    held_ = padding_ = 0;
  }
  return true;
}

void Base64Encoder::append(std::string_view bytes, std::string& out) {
  for (char c : bytes) {
    bits_ = bits_ << 8 | static_cast<unsigned char>(c);
    if (++held_ < 3) continue;
    for (int shift = 18; shift >= 0; shift -= 6) out += kLetters[bits_ >> shift & 63U];
    bits_ = 0;
    held_ = 0;
  }
}

void Base64Encoder::finish(std::string& out) {
  if (held_ == 0) return;
  std::uint32_t bits = bits_ << (8 * (3 - held_));
  for (int i = 0; i < 4; ++i) out += i <= held_ ? kLetters[bits >> (18 - 6 * i) & 63U] : '=';
  bits_ = 0;
  held_ = 0;
}

}  // namespace monopod::proxy
