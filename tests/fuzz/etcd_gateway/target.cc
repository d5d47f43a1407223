// The JSON gateway's translation: what it reads it can tell again, and that is stable; bytes of any kind do no harm. The first byte picks
// the message.
#include "etcd/messages.h"
#include "etcd/gateway/transcode.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;
using namespace monopod::etcd;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::span<const schema::Message> messages = schema::messages();
  const schema::Message& type = messages[data[0] % messages.size()];
  std::string_view text = fuzz::text_of(data, size).substr(1);
  if (Result<std::string> json = wire_to_json(text, type)) {
    // Strings are bytes to us and must be UTF-8 in JSON, so what is told may not be read; if it is, it is told the same.
    if (Result<std::string> wire = json_to_wire(*json, type)) fuzz::check(wire_to_json(*wire, type).value() == *json, "wire, told twice, is told the same");
  }
  if (Result<std::string> wire = json_to_wire(text, type)) {
    Result<std::string> json = wire_to_json(*wire, type);
    fuzz::check(json.has_value(), "what was read can be told");
    Result<std::string> again = json_to_wire(*json, type);
    fuzz::check(again.has_value(), "what was told can be read");
    fuzz::check(wire_to_json(*again, type).value() == *json, "and means the same");
    (void)parse_txn(*wire);
    (void)parse_range(*wire);
    (void)parse_watch(*wire);
  }
  JsonSplitter splitter;
  std::string value;
  std::size_t total = 0;
  for (std::size_t at = 0; at < text.size(); at += 3) {
    splitter.feed(text.substr(at, 3));
    for (;;) {
      Result<bool> found = splitter.next(value);
      if (!found) return 0;
      if (!*found) break;
      total += value.size();
    }
  }
  fuzz::check(total + splitter.pending() <= text.size(), "nothing is made up");
  return 0;
}
