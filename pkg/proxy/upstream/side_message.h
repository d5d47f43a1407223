// What a side call says and hears (side_call.h).
#pragma once

#include <memory>
#include <string>

#include "proxy/codec/head.h"
#include "proxy/config/spec.h"

namespace monopod::proxy {

inline constexpr std::size_t kSideAnswerBytesMax = 256U << 10;

struct SideRequest {
  std::size_t cluster = 0;  // of the snapshot, by index
  std::string text{};       // a whole message of HTTP/1.1, head and body
  Milliseconds timeout{1000};
};

struct SideAnswer {
  std::string failure{};  // why there is none; empty: there is one
  int status = 0;
  std::string text{};     // the head's bytes, which its spans point into
  std::unique_ptr<Head> head{};
  std::string body{};
  std::string trailers{};  // lines
  bool good() const { return failure.empty(); }
  // Of the head, else of the trailers; empty where there is none. name is lowercase.
  std::string_view field(std::string_view name) const;
};

}  // namespace monopod::proxy
