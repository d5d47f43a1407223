// Trees for the moment of one piece of work: their nodes lie side by side in an arena and are freed with it, all at once. A value that is moved
// out of such a tree stays in the arena; copied or assigned to a value elsewhere, it is elsewhere.
#pragma once

#include "codec/json.h"

namespace monopod::json {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  boost::json::storage_ptr storage() { return &blocks_; }

 private:
  static constexpr std::size_t kFirstBytes = 16U << 10;  // an API object's tree; the next ones double
  boost::json::monotonic_resource blocks_{kFirstBytes};
};

// As parse(), for text that format() wrote. Nothing of the result may outlive the arena.
Result<Value> parse_into(Arena& arena, std::string_view text);
// The same for text that somebody sent.
Result<Value> parse_into(Arena& arena, std::string_view text, const ParseLimits& limits);

}  // namespace monopod::json
