// Quantities: the canonical text is the same quantity.
#include "api/quantity/quantity.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  Result<api::Quantity> quantity = api::parse_quantity(text);
  if (!quantity) return 0;
  Result<api::Quantity> again = api::parse_quantity(quantity->text());
  fuzz::check(again.has_value(), "canonical text parses");
  fuzz::check(*again == *quantity && again->text() == quantity->text(), "canonical text is the same quantity");
  return 0;
}
