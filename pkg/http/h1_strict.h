// Private: what Boost.Beast's parser takes and another server may read differently, looked for in the bytes before Beast sees
// them. Heads and trailers: every control character but CRLF and tab, and lines that begin with white space. Chunk lines: all
// but hexadecimal digits before the extension, long lines, many extensions. What is a matter of fields (Content-Length twice or
// as a list, unknown Transfer-Encoding, Host) is judged in h1_parser.cc once Beast has split them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace monopod::http {

inline constexpr std::size_t kChunkLineBytesMax = 256;        // size and extensions of one chunk
inline constexpr std::size_t kExtensionBytesMax = 16U << 10;  // of one body (CVE-2023-39326)
inline constexpr std::size_t kTrailerBytesMax = 8U << 10;

// Why a head or a trailer is refused; empty if its bytes are sound. lines: whole lines, each with its CRLF.
std::string_view find_fault(std::string_view lines);

// "1a;ext=x\r\n" at the start of input. nullopt: not whole yet; kInvalidArgument once it cannot become one.
struct ChunkLine {
  std::uint64_t size = 0;
  std::size_t extension_bytes = 0;
  std::size_t line_bytes = 0;  // with its CRLF
};
Result<std::optional<ChunkLine>> scan_chunk_line(std::string_view input);

// The size of the field lines at the start of input with the empty line that ends them; nullopt and errors as above.
Result<std::optional<std::size_t>> scan_trailers(std::string_view input);

}  // namespace monopod::http
