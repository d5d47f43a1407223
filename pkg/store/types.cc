#include "store/types.h"

#include "store/watch.h"

namespace monopod::store {

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (end.empty()) return std::string(1, '\0');
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

bool in_range(std::string_view key, std::string_view begin, std::string_view end) {
  if (end.empty()) return key == begin;
  if (end == std::string_view("\0", 1)) return key >= begin;
  return key >= begin && key < end;
}

const std::vector<WatchEvent>& WatchBatch::events() const {
  static const std::vector<WatchEvent> none;
  return shared ? shared->events : none;
}

}  // namespace monopod::store
