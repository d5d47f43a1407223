#include "network/netlink/message.h"

#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "base/rng.h"
#include "network/netlink/route.h"

namespace monopod::network::netlink {
namespace {

Writer sample() {
  Writer writer;
  writer.begin(RTM_NEWLINK, NLM_F_MULTI, 7);
  ifinfomsg head{};
  head.ifi_index = 3;
  writer.header(head);
  writer.put_string(IFLA_IFNAME, "eth0");
  writer.put_u32(IFLA_MTU, 1'400);
  {
    Nest info(writer, IFLA_LINKINFO);
    writer.put_string(IFLA_INFO_KIND, "veth");
  }
  writer.end();
  return writer;
}

TEST(NetlinkMessage, WhatIsWrittenIsRead) {
  Writer writer = sample();
  Messages messages(writer.bytes());
  std::optional<Message> message = messages.next();
  ASSERT_TRUE(message);
  EXPECT_EQ(message->sequence, 7U);
  std::optional<Link> link = parse_link(*message);
  ASSERT_TRUE(link);
  EXPECT_EQ(link->name, "eth0");
  EXPECT_EQ(link->kind, "veth");
  EXPECT_EQ(link->mtu, 1'400U);
  EXPECT_FALSE(messages.next());
}

TEST(NetlinkMessage, AttributeOver64KiBMarksTheWriter) {
  Writer writer;
  writer.begin(RTM_NEWLINK, 0, 1);
  writer.put(IFLA_IFNAME, std::vector<std::uint8_t>(70'000));
  EXPECT_TRUE(writer.overflown());
  writer.clear();
  writer.begin(RTM_NEWLINK, 0, 1);
  {
    Nest info(writer, IFLA_LINKINFO);
    for (int i = 0; i < 3; ++i) writer.put(1, std::vector<std::uint8_t>(30'000));
  }
  EXPECT_TRUE(writer.overflown());
}

TEST(NetlinkMessage, ExtendedAckTextIsFound) {
  Writer writer;
  writer.begin(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, 9);
  nlmsgerr error{};
  error.error = -EINVAL;
  writer.header(error);
  writer.put_string(NLMSGERR_ATTR_MSG, "no such thing");
  writer.end();
  std::optional<Ack> ack = parse_ack(*Messages(writer.bytes()).next());
  ASSERT_TRUE(ack);
  EXPECT_EQ(ack->os_errno, EINVAL);
  EXPECT_EQ(ack->text, "no such thing");
}

// Every truncation and many random mutations of a valid message: no crash, no endless loop, reads stay inside.
TEST(NetlinkMessage, GarbageIsReadWithoutHarm) {
  SeededRng rng(20'260'101);
  Writer writer = sample();
  std::vector<std::uint8_t> valid(writer.bytes().begin(), writer.bytes().end());
  for (std::size_t round = 0; round < 20'000; ++round) {
    std::vector<std::uint8_t> bytes(valid.begin(), valid.begin() + static_cast<std::ptrdiff_t>(round % (valid.size() + 1)));
    for (std::uint64_t i = rng.below(6); i > 0 && !bytes.empty(); --i) bytes[rng.below(bytes.size())] = static_cast<std::uint8_t>(rng.next());
    Messages messages(bytes);
    std::size_t count = 0;
    while (std::optional<Message> message = messages.next()) {
      ++count;
      parse_link(*message);
      parse_address(*message);
      parse_ack(*message);
      Message as_error = *message;
      as_error.type = NLMSG_ERROR;
      parse_ack(as_error);
    }
    ASSERT_LE(count, bytes.size() / sizeof(nlmsghdr) + 1);
  }
}

}  // namespace
}  // namespace monopod::network::netlink
