#include "etcd/gateway/transcode.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/strings.h"
#include "etcd/messages.h"
#include "etcd/gateway/routes.h"
#include "store/limits.h"

namespace monopod::etcd {
namespace {

const schema::Message& type(std::string_view name) { return *schema::find_message(cat("etcdserverpb.", name)); }

struct Case {
  const char* name;
  const char* message;  // of etcdserverpb
  std::string json;
  const char* back;  // what its wire form is told as; "!" and a text: refused with it
};

TEST(Transcode, ReadsAndWritesAsGrpcGateway) {
  const Case cases[] = {
      {"bytes", "RangeRequest", R"({"key":"Zm9v"})", R"({"key":"Zm9v"})"},
      {"url alphabet, no padding", "RangeRequest", R"({"key":"-_8"})", R"({"key":"+/8="})"},
      {"bad base64", "RangeRequest", R"({"key":"a*=="})", "!field \"key\": want bytes in base64"},
      {"one letter of base64", "RangeRequest", R"({"key":"a"})", "!field \"key\": want bytes in base64"},
      {"number for bytes", "RangeRequest", R"({"key":7})", "!field \"key\": want bytes in base64"},
      {"integers as text", "RangeRequest", R"({"limit":"-9223372036854775808"})", R"({"limit":"-9223372036854775808"})"},
      {"integers as numbers", "RangeRequest", R"({"limit":9223372036854775807})", R"({"limit":"9223372036854775807"})"},
      {"unsigned", "Member", R"({"ID":18446744073709551615})", R"({"ID":"18446744073709551615"})"},
      {"too large", "RangeRequest", R"({"limit":9223372036854775808})",
       "!field \"limit\": want an integer between -9223372036854775808 and 9223372036854775807"},
      {"far too large", "RangeRequest", cat(R"({"limit":1)", std::string(400, '0'), "}"), "!json: number out of range"},
      {"fraction", "RangeRequest", R"({"limit":1.5})", "!field \"limit\": want an integer between -9223372036854775808 and 9223372036854775807"},
      {"negative unsigned", "Member", R"({"ID":-1})", "!field \"ID\": want an integer between 0 and 18446744073709551615"},
      {"32 bits", "HashResponse", R"({"hash":4294967295})", R"({"hash":4294967295})"},
      {"33 bits", "HashResponse", R"({"hash":4294967296})", "!field \"hash\": want an integer between 0 and 4294967295"},
      {"enum by name", "RangeRequest", R"({"sort_order":"DESCEND"})", R"({"sort_order":"DESCEND"})"},
      {"enum by number", "RangeRequest", R"({"sort_order":1})", R"({"sort_order":"ASCEND"})"},
      {"unknown number", "RangeRequest", R"({"sort_order":99})", R"({"sort_order":99})"},
      {"unknown name", "RangeRequest", R"({"sort_order":"UP"})", "!unknown value \"UP\" for enum etcdserverpb.RangeRequest.SortOrder"},
      {"camel case", "RangeRequest", R"({"rangeEnd":"AA==","minModRevision":"3","countOnly":true})",
       R"({"range_end":"AA==","count_only":true,"min_mod_revision":"3"})"},
      {"capitals are not camel case", "RangeRequest", R"({"RangeEnd":"AA==","KEY":"AA=="})", "{}"},
      {"declared camel case", "Member", R"({"peerURLs":["a","b"],"isLearner":true})", R"({"peerURLs":["a","b"],"isLearner":true})"},
      {"unknown fields", "RangeRequest", R"({"nope":{"deep":[1,2]},"key":"Zm9v"})", R"({"key":"Zm9v"})"},
      {"null is absent", "RangeRequest", R"({"key":null,"limit":null})", "{}"},
      {"defaults are left out", "RangeRequest", R"({"key":"","limit":0,"keys_only":false,"sort_order":"NONE"})", "{}"},
      {"text for bool", "RangeRequest", R"({"keys_only":"true"})", "!field \"keys_only\": want true or false"},
      {"twice by both names", "RangeRequest", R"({"range_end":"AA==","rangeEnd":"AA=="})", "!field \"range_end\" is given twice"},
      {"list of defaults", "WatchCreateRequest", R"({"filters":["NOPUT",1]})", R"({"filters":["NOPUT","NODELETE"]})"},
      {"no list", "WatchCreateRequest", R"({"filters":"NOPUT"})", "!field \"filters\": want a list"},
      {"empty message", "WatchRequest", R"({"progress_request":{}})", R"({"progress_request":{}})"},
      {"union member with its default", "Compare", R"({"key":"YQ==","version":"0"})", R"({"key":"YQ==","version":"0"})"},
      {"two members of a union", "Compare", R"({"value":"YQ==","version":1})", "!fields \"value\" and \"version\" exclude each other"},
      {"nested", "TxnRequest", R"({"success":[{"requestTxn":{"failure":[{"request_put":{"key":"YQ=="}}]}}]})",
       R"({"success":[{"request_txn":{"failure":[{"request_put":{"key":"YQ=="}}]}}]})"},
      {"no object", "RangeRequest", "[]", "!want an object of type etcdserverpb.RangeRequest"},
      {"no object inside", "WatchRequest", R"({"create_request":3})", "!want an object of type etcdserverpb.WatchCreateRequest"},
      {"nothing", "RangeRequest", " \n", "{}"},
      {"cut short", "RangeRequest", R"({"key":)", "!json: incomplete JSON at byte 7"},
      {"more than one", "RangeRequest", "{}{}", "!json: extra data at byte 2"},
      {"escapes in text", "AuthUserGetRequest", R"({"name":"a\"\\\n\u0001ü"})", R"({"name":"a\"\\\u000a\u0001ü"})"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Result<std::string> wire = json_to_wire(c.json, type(c.message));
    if (c.back[0] == '!') {
      ASSERT_FALSE(wire);
      EXPECT_EQ(wire.error().message(), c.back + 1);
      EXPECT_EQ(wire.error().code(), Code::kInvalidArgument);
      continue;
    }
    ASSERT_TRUE(wire) << wire.error().message();
    EXPECT_EQ(wire_to_json(*wire, type(c.message)).value(), c.back);
  }
}

TEST(Transcode, TransactionsMeanTheSameInBothForms) {
  Result<std::string> wire = json_to_wire(
      R"({"compare":[{"key":"aw==","target":"MOD","modRevision":"7"}],"success":[{"requestPut":{"key":"aw==","value":"dg=="}}],"failure":[{"requestRange":{"key":"aw=="}}]})",
      type("TxnRequest"));
  ASSERT_TRUE(wire);
  Result<ParsedTxn> parsed = parse_txn(*wire);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->txn.compare.at(0).target, Compare::Target::kMod);
  EXPECT_EQ(parsed->txn.compare.at(0).number, 7);
  EXPECT_EQ(*std::get<PutRequest>(parsed->txn.success.at(0)).value, "v");
  EXPECT_EQ(std::get<RangeRequest>(parsed->txn.failure.at(0)).key, "k");
}

std::string nested_txn(std::size_t levels) {
  std::string json = "{}";
  for (std::size_t i = 0; i < levels; ++i) json = cat(R"({"success":[{"request_txn":)", json, "}]}");
  return json;
}

TEST(Transcode, NestsAsDeepAsTransactionsMayAndNotForever) {
  Result<std::string> deep = json_to_wire(nested_txn(store::kTxnDepthMax), type("TxnRequest"));
  ASSERT_TRUE(deep) << deep.error().message();
  EXPECT_TRUE(wire_to_json(*deep, type("TxnRequest")));
  EXPECT_EQ(json_to_wire(nested_txn(1000), type("TxnRequest")).error().code(), Code::kInvalidArgument);
  std::string wire;
  for (std::size_t i = 0; i < kJsonDepthMax; ++i) wire = ProtoWriter().message(2, ProtoWriter().message(4, wire).str()).take();
  EXPECT_EQ(wire_to_json(wire, type("TxnRequest")).error().message(), "malformed message: nested too deep");
}

TEST(Transcode, WireOfAnotherTypeIsRefusedAndUnknownFieldsAreNot) {
  EXPECT_FALSE(wire_to_json(ProtoWriter().integer(1, 5).str(), type("RangeRequest")));     // a number where bytes belong
  EXPECT_FALSE(wire_to_json(ProtoWriter().bytes(3, "five").str(), type("RangeRequest")));  // and the other way round
  EXPECT_FALSE(wire_to_json("\x0a\x7f", type("RangeRequest")));
  EXPECT_EQ(wire_to_json(ProtoWriter().message(1, "").varint_field(3, 0).varint_field(5, std::uint64_t{1} << 32U).str(), type("RangeRequest")).value(), "{}");
  EXPECT_EQ(wire_to_json(ProtoWriter().bytes(99, "x").integer(98, 1).integer(3, 2).integer(3, 5).str(), type("RangeRequest")).value(), R"({"limit":"5"})");
}

TEST(JsonSplitter, FindsValuesHoweverTheyArrive) {
  std::string text = " {\"a\":\"}{\\\"\"} \n{\"b\":[{},{\"c\":\"\\\\\"}]}{}  ";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    JsonSplitter splitter;
    std::vector<std::string> values;
    for (std::size_t at = 0; at < text.size(); at += step) {
      splitter.feed(std::string_view(text).substr(at, step));
      for (std::string value; splitter.next(value).value();) values.push_back(value);
    }
    EXPECT_EQ(values, (std::vector<std::string>{"{\"a\":\"}{\\\"\"}", "{\"b\":[{},{\"c\":\"\\\\\"}]}", "{}"})) << step;
    EXPECT_TRUE(splitter.empty());
  }
  JsonSplitter none;
  none.feed("  7 {}");
  std::string value;
  EXPECT_FALSE(none.next(value));
}

TEST(Routes, NameMessagesAndTypesThatAreKnown) {
  for (const schema::Message& message : schema::messages())
    for (const schema::Field& field : message.fields) {
      SCOPED_TRACE(cat(message.name, ".", field.name));
      if (field.type == schema::Type::kMessage) EXPECT_NE(schema::find_message(field.of), nullptr);
      if (field.type == schema::Type::kEnum) EXPECT_NE(schema::find_enum(field.of), nullptr);
    }
  for (const Route& route : routes()) {
    SCOPED_TRACE(route.path);
    EXPECT_NE(schema::find_message(route.request), nullptr);
    EXPECT_NE(schema::find_message(route.answer), nullptr);
    EXPECT_EQ(find_route(cat("/v3", route.path)), &route);
    EXPECT_EQ(find_route(cat("/v3beta", route.path)), &route);
  }
  EXPECT_EQ(find_route("/v3/kv"), nullptr);
  EXPECT_EQ(find_route("/v3alpha/kv/range"), nullptr);
}

}  // namespace
}  // namespace monopod::etcd
