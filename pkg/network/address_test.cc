#include "network/address.h"

#include <gtest/gtest.h>

namespace monopod::network {
namespace {

TEST(Address, ParsesAndFormatsBothFamilies) {
  for (const char* text : {"10.42.0.1", "255.255.255.255", "::1", "2001:db8::1"}) {
    Result<IpAddress> ip = parse_ip(text);
    ASSERT_TRUE(ip) << text;
    EXPECT_EQ(format_ip(*ip), text);
  }
  for (const char* text : {"", "10.42.0", "10.42.0.256", "010.1.1.1", "1.2.3.4 ", "::1%eth0", "x"}) EXPECT_FALSE(parse_ip(text)) << text;
}

TEST(Address, CidrClearsHostBitsAndKnowsItsMembers) {
  Result<Cidr> cidr = parse_cidr("10.42.7.9/22");
  ASSERT_TRUE(cidr);
  EXPECT_EQ(format_cidr(*cidr), "10.42.4.0/22");
  EXPECT_TRUE(cidr->contains(*parse_ip("10.42.7.255")));
  EXPECT_FALSE(cidr->contains(*parse_ip("10.42.8.0")));
  EXPECT_FALSE(cidr->contains(*parse_ip("::1")));
  EXPECT_TRUE(parse_cidr("0.0.0.0/0")->contains(*parse_ip("1.2.3.4")));
  for (const char* text : {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "/8", "10.0.0.0/8/8"}) EXPECT_FALSE(parse_cidr(text)) << text;
}

TEST(Address, ProtocolsAreNamedAsKubernetesNamesThem) {
  EXPECT_EQ(parse_protocol("udp"), Protocol::kUdp);
  EXPECT_EQ(format_protocol(Protocol::kSctp), "SCTP");
  EXPECT_FALSE(parse_protocol("ICMP"));
}

}  // namespace
}  // namespace monopod::network
