#include "proxy/h2/message_rules.h"

#include <algorithm>
#include <array>

#include "proxy/codec/head.h"
#include "proxy/codec/scan.h"

namespace monopod::proxy {
namespace {

enum Class : std::uint8_t { kName = 1, kControl = 2 };  // in a name; not in a value

constexpr std::array<std::uint8_t, 256> kClasses = [] {
  std::array<std::uint8_t, 256> out{};
  for (unsigned c = 0; c < 256; ++c) out[c] = (c < 0x20 && c != '\t') || c == 0x7f ? kControl : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ? kName : 0;
  for (char c : std::string_view("!#$%&'*+-.^_`|~")) out[static_cast<unsigned char>(c)] = kName;
  return out;
}();

bool is_name(std::string_view name) {
  std::uint8_t all = kName;
  for (char c : name) all &= kClasses[static_cast<unsigned char>(c)];
  return all == kName;
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

bool is_value(std::string_view value) {
  if (value.empty()) return true;
  if (is_blank(value.front()) || is_blank(value.back())) return false;
  const char* end = value.data() + value.size();
  if (value.size() >= 16) return find_control(value.data(), end) == end;
  std::uint8_t any = 0;
  for (char c : value) any |= kClasses[static_cast<unsigned char>(c)];
  return (any & kControl) == 0;
}

bool is_scheme(std::string_view text) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return !text.empty() && letter(text[0]) && std::ranges::all_of(text, [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.'; });
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_method(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_token_byte); }

// Fields of a connection of HTTP/1 (section 8.2.2).
bool is_of_connection(std::string_view name) {
  switch (name.size()) {
    case 7: return name == "upgrade";
    case 10: return name == "connection" || name == "keep-alive";
    case 16: return name == "proxy-connection";
    case 17: return name == "transfer-encoding";
    default: return false;
  }
}

}  // namespace

void MessageRules::begin(Block block) {
  block_ = block;
  seen_ = 0;
  in_fields_ = false;
  if (block == Block::kTrailer) return;
  status_ = 0;
  length_ = -1;
}

bool MessageRules::see(Seen what) {
  bool again = (seen_ & what) != 0;
  seen_ |= what;
  return !again;
}

bool MessageRules::take_pseudo(std::string_view name, std::string_view value) {
  if (in_fields_ || block_ == Block::kTrailer || !is_value(value)) return false;
  if (block_ == Block::kResponse) {
    if (name != ":status" || value.size() != 3 || value[0] == '0' || !std::ranges::all_of(value, is_digit) || value == "101" || !see(kStatus)) return false;
    status_ = static_cast<std::uint16_t>((value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0'));
    return true;
  }
  if (name == ":method") {
    connect_ = value == "CONNECT";
    return see(kMethod) && is_method(value);
  }
  if (name == ":path") return see(kPath) && !value.empty();
  if (name == ":scheme") return see(kScheme) && is_scheme(value);
  if (name == ":protocol") return see(kProtocol) && is_method(value);  // a token (RFC 8441 section 4)
  return name == ":authority" && see(kAuthority);
}

MessageRules::Verdict MessageRules::take_length(std::string_view value) {
  if (block_ == Block::kTrailer) return Verdict::kGood;  // does not go on (is_trailer_line())
  bool interim = status_ != 0 && status_ < 200;
  if (length_ >= 0 || interim || value.size() > 18 || value.empty() || !std::ranges::all_of(value, is_digit)) return Verdict::kBad;
  length_ = 0;
  for (char digit : value) length_ = length_ * 10 + (digit - '0');
  if (status_ != 204) return Verdict::kGood;
  return length_ == 0 ? Verdict::kSkip : Verdict::kBad;
}

MessageRules::Verdict MessageRules::take(std::string_view name, std::string_view value) {
  auto verdict = [](bool good) { return good ? Verdict::kGood : Verdict::kBad; };
  if (name.empty()) return Verdict::kBad;
  if (name[0] == ':') return verdict(take_pseudo(name, value));
  in_fields_ = true;
  if (!is_name(name) || !is_value(value) || is_of_connection(name)) return Verdict::kBad;
  if (name == "te") return verdict(equals_lowercase(value, "trailers"));
  if (name == "host") return verdict(block_ != Block::kRequest || see(kHost));
  if (name == "content-length") return take_length(value);
  return Verdict::kGood;
}

bool MessageRules::finish_block(Asked asked) {
  if (block_ == Block::kTrailer) return true;
  if (block_ == Block::kResponse) {
    if (asked == Asked::kHead || status_ == 204 || status_ == 304) length_ = 0;
    if (asked == Asked::kConnect && status_ / 100 == 2) length_ = -1;  // it frames nothing (RFC 9110 section 9.3.6)
    return status_ != 0;
  }
  bool extended = (seen_ & kProtocol) != 0;
  if (extended && !connect_) return false;
  if (connect_ && !extended) return (seen_ & kAuthority) != 0 && (seen_ & (kScheme | kPath)) == 0;
  constexpr std::uint8_t kAll = kMethod | kScheme | kPath;
  return (seen_ & kAll) == kAll && (seen_ & (kAuthority | kHost)) != 0;
}

bool MessageRules::take_content(std::size_t bytes) {
  received_ += static_cast<std::int64_t>(bytes);
  return length_ < 0 || received_ <= length_;
}

}  // namespace monopod::proxy
