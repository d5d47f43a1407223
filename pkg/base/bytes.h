// Byte buffers and their text forms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace monopod {

// Immutable, ref-counted bytes: one copy in memory however many caches, watchers and sockets hold it. Never null
// where a value is expected; make with share().
using SharedBytes = std::shared_ptr<const std::string>;

inline SharedBytes share(std::string bytes) { return std::make_shared<const std::string>(std::move(bytes)); }

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}
inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string format_hex(std::span<const std::byte> bytes);                // lowercase
std::optional<std::string> parse_hex(std::string_view text);             // either case
std::string format_base64(std::string_view bytes);                       // RFC 4648 section 4, padded
std::optional<std::string> parse_base64(std::string_view text);          // padded; no white space
std::string format_base64url(std::string_view bytes);                    // RFC 4648 section 5, unpadded (as JWT)
std::optional<std::string> parse_base64url(std::string_view text);       // unpadded or padded

}  // namespace monopod
