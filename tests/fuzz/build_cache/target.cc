// Records of a build's cache in an image's configuration: what is read is written the same.
#include "build/cache.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Result<build::CacheRecords> records = build::parse_cache(fuzz::text_of(data, size));
  if (!records) return 0;
  std::string text = json::format(json::Value(json::Object{{build::kCacheMember, build::format_cache(*records)}}));
  Result<build::CacheRecords> again = build::parse_cache(text);
  fuzz::check(again.has_value(), "what was written is read");
  fuzz::check(again->steps == records->steps && again->images == records->images, "what was written is the same");
  return 0;
}
