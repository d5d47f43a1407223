#include "network/dns/zone.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "base/strings.h"

namespace monopod::network::dns {
namespace {

DnsTable sample() {
  DnsTable table;
  table.namespaces = {"default", "empty"};
  table.services.push_back({.name = "web", .namespace_name = "default", .cluster_ips = {*parse_ip("10.43.0.20"), *parse_ip("fd00::20")},
                            .ports = {{.name = "http", .port = 80}, {.name = "dns", .protocol = Protocol::kUdp, .port = 53}}});
  table.services.push_back({.name = "db", .namespace_name = "default",
                            .ports = {{.name = "sql", .port = 5432, .endpoints = {{.ip = *parse_ip("10.42.0.5"), .hostname = "db-0"}, {.ip = *parse_ip("10.42.0.6")}}}}});
  table.services.push_back({.name = "out", .namespace_name = "default", .external_name = "www.Example.com"});
  return table;
}

Query query_for(std::string_view name, std::uint16_t type) {
  Query query;
  query.name = *encode_name(name);
  query.type = type;
  query.question = make_question(query.name, type);
  return query;
}

std::string text_of(const Record& record) {
  auto bytes = reinterpret_cast<const std::uint8_t*>(record.data.data());
  if (record.type == kA) return format_ip(IpAddress::v4(std::span<const std::uint8_t, 4>(bytes, 4)));
  if (record.type == kAaaa) return format_ip(IpAddress::v6(std::span<const std::uint8_t, 16>(bytes, 16)));
  if (record.type == kSrv) return cat(bytes[2] << 8 | bytes[3], " ", bytes[4] << 8 | bytes[5], " ", *decode_name(std::string_view(record.data).substr(6)));
  if (record.type == kSoa) return "soa";
  if (record.type == kTxt) return record.data.substr(1);
  return *decode_name(record.data);
}

std::string answers_of(const Zone::Result& result) {
  std::vector<std::string> out;
  for (const Record& record : result.reply.answers) out.push_back(text_of(record));
  std::ranges::sort(out);
  return join(out, ", ");
}

struct Case {
  const char* name;
  std::uint16_t type;
  const char* answers;
  Rcode rcode = kNoError;
};

TEST(Zone, AnswersAsTheSpecificationSays) {
  Zone zone(sample(), {});
  const Case cases[] = {
      {"web.default.svc.cluster.local", kA, "10.43.0.20"},
      {"WEB.Default.svc.cluster.LOCAL", kA, "10.43.0.20"},
      {"web.default.svc.cluster.local", kAaaa, "fd00::20"},
      {"web.default.svc.cluster.local", kTxt, ""},
      {"_http._tcp.web.default.svc.cluster.local", kSrv, "100 80 web.default.svc.cluster.local"},
      {"_http._udp.web.default.svc.cluster.local", kSrv, "", kNameError},
      {"_tcp.web.default.svc.cluster.local", kSrv, ""},
      {"db.default.svc.cluster.local", kA, "10.42.0.5, 10.42.0.6"},
      {"db-0.db.default.svc.cluster.local", kA, "10.42.0.5"},
      {"10-42-0-6.db.default.svc.cluster.local", kA, "10.42.0.6"},
      {"db-0.db.default.svc.cluster.local", kAaaa, ""},
      {"_sql._tcp.db.default.svc.cluster.local", kSrv, "50 5432 10-42-0-6.db.default.svc.cluster.local, 50 5432 db-0.db.default.svc.cluster.local"},
      {"out.default.svc.cluster.local", kCname, "www.example.com"},
      {"20.0.43.10.in-addr.arpa", kPtr, "web.default.svc.cluster.local"},
      {"5.0.42.10.in-addr.arpa", kPtr, "db-0.db.default.svc.cluster.local"},
      {"10-42-0-9.default.pod.cluster.local", kA, "10.42.0.9"},
      {"10-42-0-9.nowhere.pod.cluster.local", kA, "", kNameError},
      {"not-an-ip.default.pod.cluster.local", kA, "", kNameError},
      {"nothing.default.svc.cluster.local", kA, "", kNameError},
      {"web.nowhere.svc.cluster.local", kA, "", kNameError},
      {"default.svc.cluster.local", kA, ""},
      {"svc.cluster.local", kA, ""},
      {"cluster.local", kA, ""},
      {"cluster.local", kSoa, "soa"},
      {"cluster.local", kNs, "ns.dns.cluster.local"},
      {"dns-version.cluster.local", kTxt, "1.1.0"},
  };
  for (const Case& c : cases) {
    Zone::Result result = zone.find(query_for(c.name, c.type), 0);
    EXPECT_NE(result.kind, Zone::Kind::kElsewhere) << c.name;
    EXPECT_EQ(answers_of(result), c.answers) << c.name;
    EXPECT_EQ(result.reply.rcode, c.rcode) << c.name;
    bool negative = result.reply.answers.empty();
    EXPECT_EQ(result.reply.authority.size(), negative ? 1U : 0U) << c.name;
    if (negative) EXPECT_EQ(result.reply.authority[0].type, kSoa);
    for (const Record& record : result.reply.answers) EXPECT_EQ(record.ttl, 5U);
  }
}

TEST(Zone, OtherNamesAreElsewhere) {
  Zone zone(sample(), {});
  for (const char* name : {"example.com", "local", "xcluster.local", "web.default.svc.cluster.local.example.com", "1.0.43.10.in-addr.arpa"})
    EXPECT_EQ(zone.find(query_for(name, kA), 0).kind, Zone::Kind::kElsewhere) << name;
  EXPECT_EQ(zone.find(query_for("out.default.svc.cluster.local", kA), 0).kind, Zone::Kind::kAlias);
}

TEST(Zone, AddressesRotate) {
  Zone zone(sample(), {});
  Query query = query_for("db.default.svc.cluster.local", kA);
  EXPECT_NE(text_of(zone.find(query, 0).reply.answers[0]), text_of(zone.find(query, 1).reply.answers[0]));
}

TEST(DnsMessage, NamesKeepTheLimits) {
  EXPECT_TRUE(encode_name(std::string(63, 'a')));
  EXPECT_FALSE(encode_name(std::string(64, 'a')));
  EXPECT_FALSE(encode_name("a..b"));
  EXPECT_FALSE(encode_name(".a"));
  EXPECT_FALSE(encode_name("a.."));
  std::string longest;
  for (int i = 0; i < 126; ++i) longest += "a.";
  EXPECT_TRUE(encode_name(longest + "a"));
  EXPECT_FALSE(encode_name(longest + "aa"));
}

TEST(DnsMessage, PointerLoopsAndForwardPointersAreRefused) {
  Query asked = query_for("example.com", kA);
  std::string reply = format_query(7, asked.question, false);
  reply[2] = static_cast<char>(0x81);
  reply[7] = 1;  // one answer
  std::size_t at = reply.size();
  for (std::uint16_t target : {static_cast<std::uint16_t>(at), static_cast<std::uint16_t>(at + 2), std::uint16_t{0x3FFF}}) {
    std::string packet = reply;
    packet += static_cast<char>(0xC0 | target >> 8);
    packet += static_cast<char>(target & 0xFF);
    packet += std::string("\0\1\0\1\0\0\0\5\0\4\1\2\3\4", 14);
    EXPECT_FALSE(parse_response(packet, 7, asked.question)) << target;
  }
  std::string good = reply + std::string("\xC0\x0C\0\1\0\1\0\0\0\5\0\4\1\2\3\4", 16);
  ASSERT_TRUE(parse_response(good, 7, asked.question));
  EXPECT_FALSE(parse_response(good, 8, asked.question));                                   // another id
  EXPECT_FALSE(parse_response(good, 7, query_for("example.org", kA).question));            // another question
  EXPECT_FALSE(parse_response(good, 7, make_question(asked.name, kAaaa)));                 // another type
  EXPECT_FALSE(parse_response(format_query(7, asked.question, false), 7, asked.question));  // no answer at all
}

TEST(DnsMessage, LongAnswersAreCutAndSaySo) {
  DnsTable table;
  DnsService service{.name = "many", .namespace_name = "default"};
  DnsPort port{.name = "p", .port = 1};
  for (std::uint32_t i = 0; i < 100; ++i) port.endpoints.push_back({.ip = IpAddress::v4(0x0A2A0002U + i)});
  service.ports.push_back(port);
  table.services.push_back(service);
  Zone zone(table, {});
  Query query = query_for("many.default.svc.cluster.local", kA);
  Zone::Result result = zone.find(query, 0);
  std::string small = format_reply(query, result.reply, 512);
  EXPECT_LE(small.size(), 512U);
  EXPECT_TRUE((small[2] & 0x02) != 0);
  std::string whole = format_reply(query, result.reply, 65'535);
  std::optional<Response> parsed = parse_response(whole, 0, query.question);
  ASSERT_TRUE(parsed);
  EXPECT_FALSE(parsed->truncated);
  EXPECT_EQ(parsed->answers.size(), 100U);
}

// Random bytes and mutations of valid packets: no crash, no loop; what is accepted can be answered within its limit.
TEST(DnsMessage, GarbageIsReadWithoutHarm) {
  SeededRng rng(20'260'102);
  Zone zone(sample(), {});
  Query asked = query_for("web.default.svc.cluster.local", kAny);
  std::string query = format_query(9, asked.question, true);
  std::string reply = format_reply(asked, zone.find(asked, 0).reply, 4'096);
  for (int round = 0; round < 50'000; ++round) {
    std::string packet = round % 2 == 0 ? query : reply;
    packet.resize(rng.below(8) == 0 ? rng.below(packet.size() + 1) : packet.size());
    for (std::uint64_t i = rng.below(5); i > 0 && !packet.empty(); --i) packet[rng.below(packet.size())] = static_cast<char>(rng.next());
    ParsedQuery parsed = parse_query(packet);
    if (!parsed.drop && parsed.refuse == kNoError) {
      Zone::Result found = zone.find(parsed.query, 0);
      EXPECT_LE(format_reply(parsed.query, found.reply, parsed.query.answer_bytes_max).size(), parsed.query.answer_bytes_max);
    } else if (!parsed.drop) {
      EXPECT_LE(format_empty(parsed.query, parsed.refuse, true).size(), 512U);
    }
    parse_response(packet, asked.id, asked.question);
  }
}

}  // namespace
}  // namespace monopod::network::dns
