// What RFC 9113 section 8 asks of a message, beyond what a Head is judged by: the order and number of pseudo-fields, bytes of names and values, fields
// that have no place, and as much content as was said. One for each stream and what comes on it. Whatever breaks a rule is malformed: a stream error.
#pragma once

#include <cstdint>
#include <string_view>

namespace monopod::proxy {

class MessageRules {
 public:
  enum class Block : std::uint8_t { kRequest, kResponse, kTrailer };
  void begin(Block block);
  // kSkip: sound, and passed over.
  enum class Verdict : std::uint8_t { kGood, kSkip, kBad };
  Verdict take(std::string_view name, std::string_view value);
  // What an answer is to.
  enum class Asked : std::uint8_t { kOther, kHead, kConnect };
  // Behind the block's last field.
  bool finish_block(Asked asked);
  // Content that comes; the message's end.
  bool take_content(std::size_t bytes);
  bool finish() const { return length_ < 0 || length_ == received_; }

 private:
  enum Seen : std::uint8_t { kMethod = 1, kScheme = 2, kPath = 4, kAuthority = 8, kStatus = 16, kHost = 32, kProtocol = 64 };
  bool see(Seen what);
  bool take_pseudo(std::string_view name, std::string_view value);
  Verdict take_length(std::string_view value);

  Block block_ = Block::kRequest;
  std::uint8_t seen_ = 0;
  bool in_fields_ = false, connect_ = false;
  std::uint16_t status_ = 0;
  std::int64_t length_ = -1;  // of the content; -1: not said
  std::int64_t received_ = 0;
};

}  // namespace monopod::proxy
