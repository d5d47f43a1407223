// DNS: queries and replies of strangers.
#include "network/dns/message.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  auto parsed = network::dns::parse_query(text);
  if (!parsed.drop) {
    std::string empty = network::dns::format_empty(parsed.query, network::dns::kRefused, false);
    fuzz::check(empty.size() <= 12 + parsed.query.question.size() + 16, "an empty answer is the question and no more");
    if (auto name = network::dns::decode_name(parsed.query.name)) fuzz::check(name->size() <= 255, "names keep to 255 bytes");
    auto reply = network::dns::parse_response(empty, parsed.query.id, parsed.query.question);
    if (parsed.refuse == network::dns::kNoError && parsed.query.edns_version_known) fuzz::check(reply && reply->rcode == network::dns::kRefused, "our answer is understood");
  }
  if (size > 2) (void)network::dns::parse_response(text, static_cast<std::uint16_t>(data[0] << 8 | data[1]), text.substr(size > 12 ? 12 : size));
  return 0;
}
