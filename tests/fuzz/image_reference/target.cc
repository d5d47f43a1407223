// Image references: the canonical text names the same image.
#include "image/reference.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  Result<image::Reference> reference = image::parse_reference(text);
  if (!reference) return 0;
  fuzz::check(reference->path.find("..") == std::string::npos, "no path leads up");
  Result<image::Reference> again = image::parse_reference(reference->text());
  fuzz::check(again.has_value(), "canonical text parses");
  fuzz::check(again->text() == reference->text(), "canonical text is its own canonical text");
  return 0;
}
