#include "cmd/store/output.h"

#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "base/bytes.h"
#include "base/strings.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

// The length of the UTF-8 sequence at text's start (RFC 3629: no overlong forms, no surrogates); 0: none.
std::size_t sequence_length(std::string_view text) {
  auto at = [text](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  unsigned first = at(0);
  if (first < 0x80) return 1;
  std::size_t length = first >= 0xc2 && first <= 0xdf ? 2 : (first & 0xf0) == 0xe0 ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((at(i) & 0xc0) != 0x80) return 0;
  unsigned second = at(1);
  bool bad = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return bad ? 0 : length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    std::size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

void add_bytes(json::Object& object, std::string name, std::string_view bytes) {
  if (is_utf8(bytes)) object[name] = bytes;
  else object[name + "_base64"] = format_base64(bytes);
}

}  // namespace

void add_output_option(CLI::App& app, std::string& output) {
  app.add_option("-o,--output", output, "text or json")->check(CLI::IsMember({"text", "json"}))->capture_default_str();
}

json::Object describe_key_value(const store::KeyValue& kv) {
  json::Object out;
  add_bytes(out, "key", kv.key);
  if (kv.value) add_bytes(out, "value", *kv.value);
  out["create_revision"] = kv.create.value;
  out["mod_revision"] = kv.mod.value;
  out["version"] = kv.version;
  if (kv.lease.value != 0) out["lease"] = format_lease_id(kv.lease);
  return out;
}

void print_json(const json::Value& value) { std::printf("%s\n", json::format(value).c_str()); }

void print_line(std::string_view text) {
  static const bool terminal = ::isatty(1) != 0;
  std::string shown = terminal ? sys::printable(text) : std::string(text);
  shown += '\n';
  std::fwrite(shown.data(), 1, shown.size(), stdout);
}

std::string format_lease_id(store::LeaseId id) {
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(id.value));
  return text;
}

Result<store::LeaseId> parse_lease_id(const std::string& text) {
  std::int64_t id = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (text.empty() || ec != std::errc() || end != text.data() + text.size() || id <= 0) return fail(Code::kInvalidArgument, cat("lease id \"", text, "\": want hex digits, as lease grant prints them"));
  return store::LeaseId(id);
}

}  // namespace monopod::cmd
