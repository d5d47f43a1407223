// Selectors: what is printed selects the same.
#include "api/selector/selector.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  if (Result<api::LabelSelector> labels = api::parse_label_selector(text)) {
    Result<api::LabelSelector> again = api::parse_label_selector(labels->format());
    fuzz::check(again && again->format() == labels->format(), "a printed label selector parses to itself");
  }
  if (Result<api::FieldSelector> fields = api::parse_field_selector(text)) {
    Result<api::FieldSelector> again = api::parse_field_selector(fields->format());
    fuzz::check(again && again->format() == fields->format(), "a printed field selector parses to itself");
  }
  return 0;
}
