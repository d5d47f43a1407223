#include "network/dns/message.h"

#include <algorithm>
#include <limits>

namespace monopod::network::dns {
namespace {

constexpr std::size_t kNameBytesMax = 255;
constexpr std::size_t kLabelBytesMax = 63;
constexpr int kPointersMax = 32;
constexpr std::uint16_t kOfferedBytes = 1'232;  // DNS flag day 2020

std::uint8_t byte_at(std::string_view text, std::size_t at) { return static_cast<std::uint8_t>(text[at]); }
std::uint16_t u16_at(std::string_view text, std::size_t at) { return static_cast<std::uint16_t>(byte_at(text, at) << 8 | byte_at(text, at + 1)); }
std::uint32_t u32_at(std::string_view text, std::size_t at) { return std::uint32_t{u16_at(text, at)} << 16 | u16_at(text, at + 2); }
void put_u16(std::string& out, std::size_t v) {
  out += static_cast<char>(v >> 8 & 0xFF);
  out += static_cast<char>(v & 0xFF);
}
void put_u32(std::string& out, std::uint32_t v) {
  put_u16(out, v >> 16);
  put_u16(out, v & 0xFFFF);
}
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

// Expands the name at `at` and moves past it. Pointers must go backwards, so there is no loop (RFC 1035 4.1.4).
std::optional<std::string> read_name(std::string_view packet, std::size_t& at) {
  std::string name;
  std::size_t pos = at;
  std::size_t limit = packet.size();  // pointers lead below this
  bool jumped = false;
  for (int pointers = 0;;) {
    if (pos >= packet.size()) return std::nullopt;
    std::uint8_t size = byte_at(packet, pos);
    if ((size & 0xC0) == 0xC0) {
      if (pos + 2 > packet.size() || ++pointers > kPointersMax) return std::nullopt;
      std::size_t target = u16_at(packet, pos) & 0x3FFFU;
      if (!jumped) at = pos + 2;
      jumped = true;
      if (target >= std::min(pos, limit)) return std::nullopt;
      limit = target;
      pos = target;
      continue;
    }
    if (size > kLabelBytesMax || pos + 1 + size > packet.size() || name.size() + 1 + size > kNameBytesMax) return std::nullopt;
    name += static_cast<char>(size);
    for (char c : packet.substr(pos + 1, size)) name += lower(c);
    pos += 1U + size;
    if (size == 0) break;
  }
  if (!jumped) at = pos;
  return name;
}

struct Header {
  std::uint16_t id, flags, questions, answers, authority, additional;
};
Header read_header(std::string_view p) { return {u16_at(p, 0), u16_at(p, 2), u16_at(p, 4), u16_at(p, 6), u16_at(p, 8), u16_at(p, 10)}; }

struct RawRecord {
  Record record;
  std::uint16_t clazz = 0;
  std::size_t ttl_at = 0;
};
std::optional<RawRecord> read_record(std::string_view packet, std::size_t& at) {
  std::optional<std::string> name = read_name(packet, at);
  if (!name || at + 10 > packet.size()) return std::nullopt;
  RawRecord out;
  out.record.name = std::move(*name);
  out.record.type = u16_at(packet, at);
  out.clazz = u16_at(packet, at + 2);
  out.ttl_at = at + 4;
  out.record.ttl = u32_at(packet, at + 4);
  std::size_t size = u16_at(packet, at + 8);
  at += 10;
  if (at + size > packet.size()) return std::nullopt;
  if (out.record.type == kCname || out.record.type == kNs || out.record.type == kPtr) {
    std::size_t inner = at;
    std::optional<std::string> target = read_name(packet, inner);
    if (!target || inner != at + size) return std::nullopt;
    out.record.data = std::move(*target);
  } else {
    out.record.data = std::string(packet.substr(at, size));
  }
  at += size;
  return out;
}

void put_record(std::string& out, const Record& record, const Query& query) {
  if (record.name == query.name) put_u16(out, 0xC000U | kHeaderBytes);
  else out += record.name;
  put_u16(out, record.type);
  put_u16(out, 1);
  put_u32(out, record.ttl);
  put_u16(out, record.data.size());
  out += record.data;
}

void put_opt(std::string& out, std::uint8_t extended_rcode) {
  out += '\0';
  put_u16(out, kOpt);
  put_u16(out, kOfferedBytes);
  put_u32(out, std::uint32_t{extended_rcode} << 24);
  put_u16(out, 0);
}

}  // namespace

std::optional<std::string> encode_name(std::string_view dotted) {
  if (dotted.ends_with('.')) dotted.remove_suffix(1);
  std::string out;
  while (!dotted.empty()) {
    std::size_t dot = std::min(dotted.find('.'), dotted.size());
    if (dot == 0 || dot > kLabelBytesMax) return std::nullopt;
    out += static_cast<char>(dot);
    for (char c : dotted.substr(0, dot)) out += lower(c);
    if (dot + 1 == dotted.size()) return std::nullopt;
    dotted.remove_prefix(std::min(dot + 1, dotted.size()));
  }
  out += '\0';
  if (out.size() > kNameBytesMax) return std::nullopt;
  return out;
}

std::optional<std::string> decode_name(std::string_view wire) {
  std::string out;
  for (std::size_t at = 0; at < wire.size() && wire[at] != 0;) {
    std::size_t size = byte_at(wire, at);
    if (size > kLabelBytesMax || at + 1 + size >= wire.size()) return std::nullopt;
    if (!out.empty()) out += '.';
    for (char c : wire.substr(at + 1, size)) {
      if (c <= ' ' || c > '~' || c == '.') return std::nullopt;
      out += c;
    }
    at += 1 + size;
  }
  return out;
}

ParsedQuery parse_query(std::string_view packet) {
  ParsedQuery out;
  if (packet.size() < kHeaderBytes || (byte_at(packet, 2) & 0x80) != 0) {
    out.drop = true;
    return out;
  }
  Header header = read_header(packet);
  out.query.id = header.id;
  out.query.recursion = (header.flags & 0x0100) != 0;
  if ((header.flags >> 11 & 0xF) != 0) {
    out.refuse = kNotImplemented;
    return out;
  }
  out.refuse = kFormatError;
  if (header.questions != 1 || header.answers != 0 || header.authority != 0 || header.additional > 4) return out;
  std::size_t at = kHeaderBytes;
  std::optional<std::string> name = read_name(packet, at);
  // A pointer in the question could only lead into the header.
  if (!name || at + 4 > packet.size() || name->size() != at - kHeaderBytes) return out;
  out.query.name = std::move(*name);
  out.query.type = u16_at(packet, at);
  out.query.clazz = u16_at(packet, at + 2);
  out.query.question = std::string(packet.substr(kHeaderBytes, at + 4 - kHeaderBytes));
  at += 4;
  for (std::uint16_t i = 0; i < header.additional; ++i) {
    std::optional<RawRecord> record = read_record(packet, at);
    if (!record) return out;
    if (record->record.type != kOpt) continue;
    if (out.query.edns || record->record.name.size() != 1) return out;  // RFC 6891 6.1.1: one, at the root
    out.query.edns = true;
    out.query.edns_version_known = (record->record.ttl >> 16 & 0xFF) == 0;
    out.query.answer_bytes_max = std::clamp<std::size_t>(record->clazz, kUdpBytesMin, kUdpBytesMax);
  }
  out.refuse = kNoError;
  if (out.query.clazz != 1 && out.query.clazz != kAny) out.refuse = kRefused;
  if (out.query.type == kAxfr || out.query.type == kIxfr) out.refuse = kRefused;
  return out;
}

Record address_record(std::string name, const IpAddress& ip, std::uint32_t ttl) {
  return {std::move(name), ip.is_v4() ? kA : kAaaa, ttl, std::string(ip.bytes().begin(), ip.bytes().end())};
}

Record srv_record(std::string name, std::uint16_t weight, std::uint16_t port, std::string_view target, std::uint32_t ttl) {
  std::string data;
  put_u16(data, 0);
  put_u16(data, weight);
  put_u16(data, port);
  data += target;
  return {std::move(name), kSrv, ttl, std::move(data)};
}

std::string format_reply(const Query& query, const Reply& reply, std::size_t bytes_max) {
  std::string out;
  const bool bad_version = query.edns && !query.edns_version_known;
  out.reserve(bytes_max);
  put_u16(out, query.id);
  put_u16(out, 0x8080U | (reply.authoritative ? 0x0400U : 0U) | (query.recursion ? 0x0100U : 0U) | (bad_version ? 0U : reply.rcode));
  put_u16(out, query.question.empty() ? 0 : 1);
  out.append(6, '\0');
  out += query.question;
  const std::size_t limit = bytes_max - (query.edns ? 11 : 0);
  bool truncated = false;
  std::size_t section_at = 6;
  for (const std::vector<Record>* section : {&reply.answers, &reply.authority, &reply.additional}) {
    std::size_t count = 0;
    if (!truncated && !bad_version) {
      for (const Record& record : *section) {
        std::size_t before = out.size();
        put_record(out, record, query);
        if (out.size() > limit) {
          out.resize(before);
          truncated = section != &reply.additional;
          break;
        }
        ++count;
      }
    }
    if (section == &reply.additional && query.edns) {
      put_opt(out, bad_version ? 1 : 0);  // BADVERS is 16: 1 in the upper bits, 0 in the header
      ++count;
    }
    out[section_at] = static_cast<char>(count >> 8);
    out[section_at + 1] = static_cast<char>(count & 0xFF);
    section_at += 2;
  }
  if (truncated) out[2] = static_cast<char>(byte_at(out, 2) | 0x02);
  return out;
}

std::string format_empty(const Query& query, Rcode rcode, bool truncated) {
  Reply reply;
  reply.rcode = rcode;
  std::string out = format_reply(query, reply, kUdpBytesMin);
  if (truncated) out[2] = static_cast<char>(byte_at(out, 2) | 0x02);
  return out;
}

std::string make_question(std::string_view wire_name, std::uint16_t type) {
  std::string out(wire_name);
  put_u16(out, type);
  put_u16(out, 1);
  return out;
}

std::string format_query(std::uint16_t id, std::string_view question, bool edns) {
  std::string out;
  put_u16(out, id);
  put_u16(out, 0x0100);
  put_u16(out, 1);
  put_u32(out, 0);
  put_u16(out, edns ? 1 : 0);
  out += question;
  if (edns) put_opt(out, 0);
  return out;
}

std::optional<Response> parse_response(std::string_view packet, std::uint16_t id, std::string_view question) {
  if (packet.size() < kHeaderBytes + question.size()) return std::nullopt;
  Header header = read_header(packet);
  if (header.id != id || (header.flags & 0x8000) == 0 || (header.flags >> 11 & 0xF) != 0 || header.questions != 1) return std::nullopt;
  if (packet.substr(kHeaderBytes, question.size()) != question) return std::nullopt;
  Response out;
  out.rcode = static_cast<Rcode>(header.flags & 0xF);
  out.truncated = (header.flags & 0x0200) != 0;
  out.ttl_min = std::numeric_limits<std::uint32_t>::max();
  std::size_t at = kHeaderBytes + question.size();
  const std::size_t total = std::size_t{header.answers} + header.authority + header.additional;
  if (total > kRecordsMax) return std::nullopt;
  for (std::size_t i = 0; i < total; ++i) {
    std::optional<RawRecord> raw = read_record(packet, at);
    if (!raw) {
      if (out.truncated) break;
      return std::nullopt;
    }
    if (raw->record.type == kOpt) continue;
    out.ttl_offsets.push_back(raw->ttl_at);
    if (i < header.answers) {
      out.ttl_min = std::min(out.ttl_min, raw->record.ttl);
      if (raw->clazz == 1) out.answers.push_back(std::move(raw->record));
    } else if (i < std::size_t{header.answers} + header.authority) {
      if (raw->record.type == kSoa && header.answers == 0 && raw->record.data.size() >= 4)
        out.ttl_min = std::min({out.ttl_min, raw->record.ttl, u32_at(raw->record.data, raw->record.data.size() - 4)});
      if (raw->clazz == 1) out.authority.push_back(std::move(raw->record));
    }
  }
  if (out.ttl_min == std::numeric_limits<std::uint32_t>::max()) out.ttl_min = 0;
  return out;
}

}  // namespace monopod::network::dns
