// Configuration files: whatever they hold, they are compiled or refused with a reason.
#include "base/strings.h"
#include "proxy/config/parse.h"
#include "proxy/config/snapshot.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  auto parsed = proxy::parse_config(text, [](const std::string& path) -> Result<std::string> { return fail(Code::kNotFound, cat("read ", path, ": no such file")); });
  if (!parsed) {
    fuzz::check(!parsed.error().message().empty(), "a refusal has a reason");
    return 0;
  }
  for (const proxy::ClusterSpec& cluster : parsed->spec.clusters)
    if (cluster.tls) return 0;  // reads the host's bundle of roots
  proxy::ConfigError error;
  auto snapshot = proxy::compile(parsed->spec, nullptr, error);
  fuzz::check(snapshot != nullptr || !error.why.empty(), "a refusal has a reason");
  return 0;
}
