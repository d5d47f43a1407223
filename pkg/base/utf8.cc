#include "base/utf8.h"

namespace monopod {

std::size_t utf8_length(std::string_view text) {
  auto byte = [text](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  auto follows = [&byte](std::size_t i) { return (byte(i) & 0xc0) == 0x80; };
  if (text.empty()) return 0;
  unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    bool fine = follows(1) && follows(2) && !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second > 0x9f);
    return fine ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    bool fine = follows(1) && follows(2) && follows(3) && !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f);
    return fine ? 4 : 0;
  }
  return 0;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    std::size_t n = utf8_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string to_utf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t n = utf8_length(text);
    if (n == 0) out += "\xef\xbf\xbd";
    else out += text.substr(0, n);
    text.remove_prefix(n == 0 ? 1 : n);
  }
  return out;
}

}  // namespace monopod
