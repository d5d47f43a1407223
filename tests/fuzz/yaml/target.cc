// YAML: never crashes; what parses is written and parses again.
#include "codec/yaml.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  Result<std::vector<json::Value>> documents = yaml::parse_all(text);
  if (!documents) return 0;
  for (const json::Value& document : *documents) {
    std::string written = yaml::format(document);
    Result<json::Value> again = yaml::parse(written);
    if (again) fuzz::check(yaml::format(*again) == written, "formatting twice gives the same");
  }
  return 0;
}
