#include "network/netlink/message.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netlink.h>

#include <algorithm>

namespace monopod::network::netlink {
namespace {

constexpr std::size_t aligned(std::size_t n) { return (n + 3) & ~std::size_t{3}; }

template <typename T>
std::optional<T> number(std::span<const std::uint8_t> bytes) {
  if (bytes.size() != sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

template <typename T>
std::span<const std::uint8_t> view(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

}  // namespace

void Writer::append(const void* data, std::size_t size) {
  const auto* from = static_cast<const std::uint8_t*>(data);
  bytes_.insert(bytes_.end(), from, from + size);
  pad();
}

void Writer::pad() { bytes_.resize(aligned(bytes_.size())); }

void Writer::begin(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence) {
  message_at_ = bytes_.size();
  nlmsghdr head{};
  head.nlmsg_type = type;
  head.nlmsg_flags = flags;
  head.nlmsg_seq = sequence;
  append(&head, sizeof head);
}

void Writer::end() {
  std::uint32_t length = static_cast<std::uint32_t>(bytes_.size() - message_at_);
  std::memcpy(bytes_.data() + message_at_, &length, sizeof length);
  ++messages_;
}

void Writer::append_messages(const Writer& from, std::uint32_t first_sequence) {
  std::size_t at = bytes_.size();
  bytes_.insert(bytes_.end(), from.bytes_.begin(), from.bytes_.end());
  for (std::uint32_t sequence = first_sequence; at < bytes_.size(); ++sequence) {
    nlmsghdr head{};
    std::memcpy(&head, bytes_.data() + at, sizeof head);
    std::memcpy(bytes_.data() + at + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof sequence);
    at += aligned(head.nlmsg_len);
  }
  messages_ += from.messages_;
  overflown_ = overflown_ || from.overflown_;
}

void Writer::add_flags_to_last(std::uint16_t flags) {
  std::uint8_t* at = bytes_.data() + message_at_ + offsetof(nlmsghdr, nlmsg_flags);
  std::uint16_t now = 0;
  std::memcpy(&now, at, sizeof now);
  now = static_cast<std::uint16_t>(now | flags);
  std::memcpy(at, &now, sizeof now);
}

void Writer::put(std::uint16_t type, std::span<const std::uint8_t> bytes) {
  if (bytes.size() > 0xFFFF - sizeof(nlattr)) {
    overflown_ = true;
    return;
  }
  nlattr head{static_cast<std::uint16_t>(sizeof(nlattr) + bytes.size()), type};
  append(&head, sizeof head);
  if (!bytes.empty()) append(bytes.data(), bytes.size());
}

void Writer::put_u8(std::uint16_t type, std::uint8_t v) { put(type, view(v)); }
void Writer::put_u16(std::uint16_t type, std::uint16_t v) { put(type, view(v)); }
void Writer::put_u32(std::uint16_t type, std::uint32_t v) { put(type, view(v)); }
void Writer::put_be16(std::uint16_t type, std::uint16_t host_order) { put_u16(type, htons(host_order)); }
void Writer::put_be32(std::uint16_t type, std::uint32_t host_order) { put_u32(type, htonl(host_order)); }
void Writer::put_be64(std::uint16_t type, std::uint64_t host_order) {
  std::uint64_t wire = htobe64(host_order);
  put(type, view(wire));
}

void Writer::put_string(std::uint16_t type, std::string_view text) {
  std::string copy(text);
  put(type, {reinterpret_cast<const std::uint8_t*>(copy.c_str()), copy.size() + 1});
}

std::size_t Writer::nest(std::uint16_t type) {
  std::size_t at = bytes_.size();
  nlattr head{0, static_cast<std::uint16_t>(type | NLA_F_NESTED)};
  append(&head, sizeof head);
  return at;
}

void Writer::close(std::size_t nest) {
  std::size_t size = bytes_.size() - nest;
  if (size > 0xFFFF) overflown_ = true;
  std::uint16_t length = static_cast<std::uint16_t>(size);
  std::memcpy(bytes_.data() + nest, &length, sizeof length);
}

void Writer::clear() {
  bytes_.clear();
  messages_ = 0;
  overflown_ = false;
}

std::optional<std::uint8_t> Attribute::u8() const { return number<std::uint8_t>(bytes); }
std::optional<std::uint16_t> Attribute::u16() const { return number<std::uint16_t>(bytes); }
std::optional<std::uint32_t> Attribute::u32() const { return number<std::uint32_t>(bytes); }
std::optional<std::uint16_t> Attribute::be16() const {
  std::optional<std::uint16_t> wire = u16();
  return wire ? std::optional(ntohs(*wire)) : std::nullopt;
}
std::optional<std::uint32_t> Attribute::be32() const {
  std::optional<std::uint32_t> wire = u32();
  return wire ? std::optional(ntohl(*wire)) : std::nullopt;
}
std::optional<std::uint64_t> Attribute::be64() const {
  std::optional<std::uint64_t> wire = number<std::uint64_t>(bytes);
  return wire ? std::optional<std::uint64_t>(be64toh(*wire)) : std::nullopt;
}
std::string_view Attribute::text() const {
  std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return all.substr(0, all.find('\0'));
}

std::optional<Attribute> Attributes::next() {
  nlattr head{};
  if (rest_.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, rest_.data(), sizeof head);
  if (head.nla_len < sizeof head || head.nla_len > rest_.size()) {
    rest_ = {};
    return std::nullopt;
  }
  Attribute attribute{static_cast<std::uint16_t>(head.nla_type & NLA_TYPE_MASK), rest_.subspan(sizeof head, head.nla_len - sizeof head)};
  rest_ = rest_.subspan(std::min(aligned(head.nla_len), rest_.size()));
  return attribute;
}

std::optional<Attribute> Attributes::find(std::uint16_t type) const {
  Attributes copy = *this;
  while (std::optional<Attribute> attribute = copy.next())
    if (attribute->type == type) return attribute;
  return std::nullopt;
}

std::optional<Attributes> Attributes::find_nested(std::uint16_t type) const {
  std::optional<Attribute> found = find(type);
  return found ? std::optional(Attributes(found->bytes)) : std::nullopt;
}

Attributes Message::attributes(std::size_t fixed_bytes) const {
  return Attributes(payload.subspan(std::min(aligned(fixed_bytes), payload.size())));
}

std::optional<Message> Messages::next() {
  nlmsghdr head{};
  if (rest_.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, rest_.data(), sizeof head);
  if (head.nlmsg_len < sizeof head || head.nlmsg_len > rest_.size()) {
    rest_ = {};
    return std::nullopt;
  }
  Message message{head.nlmsg_type, head.nlmsg_flags, head.nlmsg_seq, rest_.subspan(sizeof head, head.nlmsg_len - sizeof head)};
  rest_ = rest_.subspan(std::min(aligned(head.nlmsg_len), rest_.size()));
  return message;
}

std::optional<Ack> parse_ack(const Message& message) {
  std::optional<nlmsgerr> error = message.fixed<nlmsgerr>();
  if (message.type != NLMSG_ERROR || !error) return std::nullopt;
  // INT_MIN cannot be negated; no errno is that large.
  Ack ack{error->error <= 0 && error->error > -4096 ? -error->error : EPROTO, {}};
  if ((message.flags & NLM_F_ACK_TLVS) == 0) return ack;
  // Without CAPPED the whole request stands between the header and the TLVs.
  std::size_t echoed = sizeof(nlmsgerr);
  if ((message.flags & NLM_F_CAPPED) == 0) {
    if (error->msg.nlmsg_len < sizeof(nlmsghdr) || error->msg.nlmsg_len > message.payload.size()) return ack;
    echoed += error->msg.nlmsg_len - sizeof(nlmsghdr);
  }
  if (std::optional<Attribute> text = message.attributes(echoed).find(NLMSGERR_ATTR_MSG)) ack.text = std::string(text->text().substr(0, 256));
  return ack;
}

}  // namespace monopod::network::netlink
