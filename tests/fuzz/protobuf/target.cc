// Kubernetes protobuf of kinds that the first byte chooses: what decodes is canonical JSON that encodes and decodes to itself.
#include "api/protobuf/protobuf.h"
#include "base/utf8.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const api::Resource& resource = api::resources()[data[0] % api::resources().size()];
  std::string_view bytes = fuzz::text_of(data + 1, size - 1);
  (void)api::peek_protobuf_type(bytes);
  api::DecodeTarget target{&resource.type(), resource.group_version(), resource.kind()};
  Result<json::Value> tree = api::decode_protobuf(bytes, target);
  if (!tree) return 0;
  std::string text = json::format(*tree);
  fuzz::check(is_utf8(text), "what decodes is UTF-8");
  Result<json::Value> parsed = json::parse(text);
  fuzz::check(parsed.has_value(), "what decodes is JSON");
  Result<std::string> again = api::encode_protobuf(*tree, resource.type());
  fuzz::check(again.has_value(), "what decodes can be encoded");
  Result<json::Value> twice = api::decode_protobuf(*again, target);
  fuzz::check(twice.has_value(), "what was encoded decodes");
  fuzz::check(json::format(*twice) == text, "and is the same");
  return 0;
}
