// Private: answers the server makes by itself.
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "http/headers.h"

namespace monopod::http {

inline constexpr std::string_view kBodyTooLarge = "request body too large";

struct PlainAnswer {
  int status = 0;
  Headers headers{};
  SharedBytes body{};
};
// For an error before start().
PlainAnswer plain_answer(const Error& error);

}  // namespace monopod::http
