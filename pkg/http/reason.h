// The words that go with a status in HTTP/1.1 (RFC 9110 section 15). Nobody decides by them.
#pragma once

#include <string_view>

namespace monopod::http {

// "Status" for a number that has none here.
std::string_view reason_phrase(int status);

}  // namespace monopod::http
