// HTTP/1 heads as spans into the buffer they came in: nothing is copied, and lines that nobody changes leave by reference. What two servers could
// read differently is refused (RFC 9112; rows H1 and H4 of the hardening table): bare CR or LF, NUL, folded lines, blanks around names, two
// lengths, a length beside chunks, codings other than "chunked", Host missing, twice or odd.
//
//   parse_request_head(slab, size, head) -> kDone: head.size bytes; kPartial: read more; kBad: answer head.refusal and close
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace monopod::proxy {

inline constexpr std::size_t kFieldsMax = 128;              // of one head; 431 past it
inline constexpr std::size_t kHeadBytesMax = 15U << 10;     // of one head: leaves room in its slab for a body; 431 past it
inline constexpr std::size_t kTargetBytesMax = 8U << 10;    // 414 past it

// Names the proxy itself looks at.
enum class FieldName : std::uint8_t {
  kOther, kConnection, kContentLength, kExpect, kForwarded, kHost, kInternal, kKeepAlive, kProxyConnection, kTe, kTrailer, kTransferEncoding, kUpgrade,
  kXForwarded,  // x-forwarded-*, x-real-ip
};

// One line, as offsets from the head's begin. 12 bytes: 128 of them are kept per exchange.
struct FieldSpan {
  std::uint16_t begin = 0, name_size = 0, value_begin = 0, value_size = 0, end = 0;  // end: behind the CRLF
  FieldName id = FieldName::kOther;
  bool dropped : 1 = false;  // does not go on
  bool secret : 1 = false;   // came as what no table may keep (RFC 7541 section 7.1.3)
};

enum class Framing : std::uint8_t { kNone, kLength, kChunked, kUntilClose, kStream };  // kStream: frames say where it ends

struct Refusal {
  int status = 0;
  std::string_view why;
};

struct Head {
  const char* base = nullptr;
  std::size_t size = 0;  // with the empty line
  std::uint16_t line_end = 0;  // the first line with its CRLF; of a list: where the fields begin
  std::array<FieldSpan, kFieldsMax> fields;
  std::size_t count = 0;

  // Request.
  std::string_view method{}, target{};  // target as it came
  std::string_view host{};              // of the target where it has one, else of the Host field
  std::string_view path{};              // with the query; "*" for OPTIONS *
  bool absolute_target = false;
  // Response.
  int status = 0;
  std::string_view reason{};

  bool listed = false;          // came as a list (HTTP/2): there is no first line
  bool http_1_0 = false;
  bool keep_alive = true;       // the peer lets the connection live on
  bool wants_upgrade = false;   // Connection names Upgrade, and there is one
  bool expects_continue = false;
  bool extended_connect = false;  // of a list: a WebSocket, asked for by CONNECT (RFC 8441); here a GET that wants an upgrade
  Framing framing = Framing::kNone;
  std::uint64_t length = 0;
  Refusal refusal{};

  std::string_view name(const FieldSpan& f) const { return {base + f.begin, f.name_size}; }
  std::string_view value(const FieldSpan& f) const { return {base + f.value_begin, f.value_size}; }
  // The first one that is not dropped; null where there is none. name is lowercase.
  const FieldSpan* find(std::string_view lowercase_name) const;
};

enum class Parsed : std::uint8_t { kDone, kPartial, kBad };

Parsed parse_request_head(const char* base, std::size_t size, Head& head);
// to_head: the request was HEAD, whose answer has no body.
Parsed parse_response_head(const char* base, std::size_t size, bool to_head, Head& head);

// What the parsers end with, for a head whose spans were filled otherwise (HeadList). ends: no content follows. A request that is not taken has its
// refusal set; of a response, false.
void judge_listed_request(Head& head, bool ends);
bool judge_listed_response(Head& head, bool to_head, bool ends);
// name in any case.
FieldName name_id(std::string_view name);

// Whether line, a field line with its CRLF, may stand in a trailer: sound, and nothing that frames, routes or authorises (RFC 9110 section 6.5.1).
bool is_trailer_line(std::string_view line);
// Same bytes but for the case of ASCII letters; lowercase holds none above.
bool equals_lowercase(std::string_view text, std::string_view lowercase);
bool is_token_byte(char c);

}  // namespace monopod::proxy
