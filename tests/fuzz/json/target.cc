// JSON: what parses is written and parses again.
#include "codec/json.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  Result<json::Value> value = json::parse(text);
  if (!value) return 0;
  std::string once = json::format(*value);
  Result<json::Value> again = json::parse(once);
  fuzz::check(again.has_value(), "formatted JSON parses");
  // Integers beyond 64 bits are doubles, read to the last place but one: only the shape is compared.
  fuzz::check(again->kind() == value->kind(), "it parses to the same kind");
  return 0;
}
