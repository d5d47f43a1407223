// Private: SPDY/3's header blocks.
//
//   count:32  { length:32 name  length:32 value, several values joined by NUL }*   the whole deflated, flushed to a byte after each block
#pragma once

#include <zlib.h>

#include "http/spdy_framer.h"

namespace monopod::http {

class SpdyFramer::HeaderBlocks {
 public:
  ~HeaderBlocks();
  Result<Headers> read(std::string_view compressed, const Limits& limits);
  Result<std::string> write(const Headers& headers);

 private:
  Result<std::string> inflate_block(std::string_view compressed, std::size_t bytes_max);

  z_stream in_{};
  z_stream out_{};
  bool in_ready_ = false;
  bool out_ready_ = false;
};

}  // namespace monopod::http
