// A stream of messages of D-Bus: what is taken off it is written and read again as the same, and what is left is shorter.
#include "container/oci/bus_message.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;
using namespace monopod::container::oci;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string bytes(fuzz::text_of(data, size));
  for (;;) {
    std::size_t before = bytes.size();
    Result<std::optional<BusMessage>> message = parse_bus_message(bytes);
    if (!message || !*message) return 0;
    fuzz::check(bytes.size() < before, "a message is taken off");
    std::string again = format_bus_message(**message);
    Result<std::optional<BusMessage>> once_more = parse_bus_message(again);
    fuzz::check(once_more && *once_more && again.empty(), "what is written is read");
    fuzz::check((*once_more)->member == (*message)->member && (*once_more)->body == (*message)->body && (*once_more)->reply_serial == (*message)->reply_serial, "and is the same");
    BusReader in((*message)->body);
    while (in.ok() && in.offset() < (*message)->body.size()) (void)in.text();
  }
}
