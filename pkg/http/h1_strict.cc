#include "http/h1_strict.h"

#include <algorithm>
#include <charconv>

#include "http/headers.h"

namespace monopod::http {

std::string_view find_fault(std::string_view lines) {
  for (std::size_t i = 0; i < lines.size(); ++i) {
    auto byte = static_cast<unsigned char>(lines[i]);
    if ((byte >= 0x20 && byte != 0x7f) || byte == '\t') continue;
    if (byte == '\n') return "bare line feed";
    if (byte != '\r') return "control character";
    if (i + 1 == lines.size() || lines[i + 1] != '\n') return "bare carriage return";
    ++i;
    if (i + 1 < lines.size() && (lines[i + 1] == ' ' || lines[i + 1] == '\t')) return "folded header line";
  }
  return {};
}

Result<std::optional<ChunkLine>> scan_chunk_line(std::string_view input) {
  auto refuse = [](std::string_view why) { return fail(Code::kInvalidArgument, std::string(why)); };
  std::size_t end = input.substr(0, kChunkLineBytesMax).find('\n');
  if (end == std::string_view::npos) {
    if (input.size() >= kChunkLineBytesMax) return refuse("chunk line too long");
    return std::optional<ChunkLine>();
  }
  if (end == 0 || input[end - 1] != '\r') return refuse("bare line feed in chunk line");
  std::string_view line = input.substr(0, end - 1);
  std::string_view size = line.substr(0, line.find(';'));
  std::string_view extension = line.substr(size.size());
  if (!is_field_value(extension)) return refuse("invalid chunk extension");
  bool hex = std::ranges::all_of(size, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); });
  if (!hex || size.empty() || size.size() > 15) return refuse("invalid chunk size");
  ChunkLine out{.extension_bytes = extension.size(), .line_bytes = end + 1};
  std::from_chars(size.data(), size.data() + size.size(), out.size, 16);
  return out;
}

Result<std::optional<std::size_t>> scan_trailers(std::string_view input) {
  if (input.starts_with("\r\n")) return 2U;
  std::size_t end = input.find("\r\n\r\n");
  if (end == std::string_view::npos) {
    // A bare LF never becomes the end; say so now.
    for (std::size_t at = input.find('\n'); at != std::string_view::npos; at = input.find('\n', at + 1))
      if (at == 0 || input[at - 1] != '\r') return fail(Code::kInvalidArgument, "bare line feed in trailers");
    if (input.size() > kTrailerBytesMax) return fail(Code::kInvalidArgument, "trailers too large");
    return std::optional<std::size_t>();
  }
  std::size_t bytes = end + 4;
  if (bytes > kTrailerBytesMax) return fail(Code::kInvalidArgument, "trailers too large");
  std::string_view trailers = input.substr(0, bytes);
  std::string_view fault = trailers.front() == ' ' || trailers.front() == '\t' ? "folded header line" : find_fault(trailers);
  if (!fault.empty()) return fail(Code::kInvalidArgument, std::string(fault));
  return bytes;
}

}  // namespace monopod::http
