// DNS messages (RFC 1035, EDNS0 RFC 6891): reading queries and answers with every length checked, writing answers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "network/address.h"

namespace monopod::network::dns {

inline constexpr std::size_t kHeaderBytes = 12;
inline constexpr std::size_t kUdpBytesMin = 512;    // without EDNS
inline constexpr std::size_t kUdpBytesMax = 4'096;  // what a client may ask for, and what we offer upstream servers
inline constexpr std::size_t kRecordsMax = 512;     // read from one answer

enum Type : std::uint16_t { kA = 1, kNs = 2, kCname = 5, kSoa = 6, kPtr = 12, kTxt = 16, kAaaa = 28, kSrv = 33, kOpt = 41, kIxfr = 251, kAxfr = 252, kAny = 255 };
enum Rcode : std::uint8_t { kNoError = 0, kFormatError = 1, kServerFailure = 2, kNameError = 3, kNotImplemented = 4, kRefused = 5 };

// "web.default" to wire form in lower case, ending in the root label. nullopt: empty labels, over 63 or 255 bytes.
std::optional<std::string> encode_name(std::string_view dotted);
// Wire form to dotted text without the last dot; nullopt where a label holds a dot or an unprintable byte.
std::optional<std::string> decode_name(std::string_view wire);

struct Query {
  std::uint16_t id = 0;
  bool recursion = false;
  std::string question{};  // its bytes: name as asked, type, class
  std::string name{};      // wire form, lower case
  std::uint16_t type = 0;
  std::uint16_t clazz = 1;
  bool edns = false;
  bool edns_version_known = true;
  std::size_t answer_bytes_max = kUdpBytesMin;
};

struct ParsedQuery {
  bool drop = false;         // not worth an answer
  Rcode refuse = kNoError;   // answer with this and nothing else
  Query query{};
};
ParsedQuery parse_query(std::string_view packet);

struct Record {
  std::string name{};  // wire form
  std::uint16_t type = 0;
  std::uint32_t ttl = 0;
  std::string data{};  // names inside expanded for CNAME, NS, PTR
};
Record address_record(std::string name, const IpAddress& ip, std::uint32_t ttl);
Record srv_record(std::string name, std::uint16_t weight, std::uint16_t port, std::string_view target, std::uint32_t ttl);

struct Reply {
  Rcode rcode = kNoError;
  bool authoritative = false;
  std::vector<Record> answers{};
  std::vector<Record> authority{};
  std::vector<Record> additional{};
};
// At most bytes_max; what does not fit is left out with the truncation bit set (whole additional section first).
std::string format_reply(const Query& query, const Reply& reply, std::size_t bytes_max);
// Only header and question, with the truncation bit where asked.
std::string format_empty(const Query& query, Rcode rcode, bool truncated);

// A query of our own.
std::string format_query(std::uint16_t id, std::string_view question, bool edns);
std::string make_question(std::string_view wire_name, std::uint16_t type);

struct Response {
  Rcode rcode = kNoError;
  bool truncated = false;
  std::vector<Record> answers{};
  std::vector<Record> authority{};
  std::vector<std::size_t> ttl_offsets{};  // of every record but OPT, in the packet
  std::uint32_t ttl_min = 0;               // over answers; of a negative answer, its SOA's minimum
};
// nullopt unless it answers exactly this id and question (compared byte for byte) and is well formed.
std::optional<Response> parse_response(std::string_view packet, std::uint16_t id, std::string_view question);

}  // namespace monopod::network::dns
