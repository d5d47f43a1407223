// vendor-protos compiled by protoc, against schema.cc, routes.cc and the tables of methods.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <sstream>

#include "base/strings.h"
#include "etcd/methods.h"
#include "etcd/gateway/routes.h"
#include "etcd/gateway/transcode.h"
#include "store/test_support.h"
#include "tests/support/descriptor_fields.h"

namespace monopod::etcd {
namespace {

using testing::Fields;

std::string read_all(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// Everything a table or a .proto says, a line each: "etcdserverpb.RangeRequest.key = 1 bytes".
using Lines = std::map<std::string, std::string>;

std::string describe(std::uint32_t number, std::string_view type, bool repeated, std::string_view oneof) {
  return cat(number, ' ', repeated ? "repeated " : "", type, oneof.empty() ? "" : " in ", oneof);
}

Lines table_lines() {
  static constexpr std::string_view kTypes[] = {"bytes", "string", "bool", "int64", "uint64", "uint32", "", ""};
  Lines lines;
  for (const schema::Message& message : schema::messages()) {
    lines[std::string(message.name)] = "message";
    for (const schema::Field& field : message.fields) {
      std::string_view type = field.of.empty() ? kTypes[static_cast<int>(field.type)] : field.of;
      lines[cat(message.name, '.', field.name)] = describe(field.number, type, field.repeated, field.oneof);
    }
  }
  for (const schema::Enum& one : schema::enums())
    for (const schema::EnumValue& value : one.values) lines[cat(one.name, ':', value.name)] = cat(value.number);
  for (const Route& route : routes()) {
    std::string_view in = route.streams == Streams::kBoth ? "stream " : "", out = route.streams == Streams::kNone ? "" : "stream ";
    lines[std::string(route.method)] = cat(in, route.request, " -> ", out, route.answer);
  }
  return lines;
}

std::string type_name(const Fields& field) {
  static const std::map<std::int64_t, std::string> kScalars = {{12, "bytes"}, {9, "string"}, {8, "bool"}, {3, "int64"}, {4, "uint64"}, {13, "uint32"}};
  std::string name = field.text(6);
  if (!name.empty()) return name.substr(1);  // ".package.Type"
  auto known = kScalars.find(field.numbers.at(5));
  return known == kScalars.end() ? "unknown" : known->second;
}

void add_enum(Lines& lines, const std::string& scope, std::string_view bytes) {
  Fields one(bytes);
  for (std::string_view value : one.all(2)) {
    Fields fields(value);
    lines[cat(scope, '.', one.text(1), ':', fields.text(1))] = cat(fields.numbers.contains(2) ? fields.numbers.at(2) : 0);
  }
}

void add_message(Lines& lines, const std::string& scope, std::string_view bytes) {
  Fields message(bytes);
  std::string name = cat(scope, '.', message.text(1));
  lines[name] = "message";
  std::vector<std::string_view> oneofs = message.all(8);
  for (std::string_view one : message.all(2)) {
    Fields field(one);
    std::string oneof = field.numbers.contains(9) ? Fields(oneofs.at(static_cast<std::size_t>(field.numbers.at(9)))).text(1) : "";
    lines[cat(name, '.', field.text(1))] = describe(static_cast<std::uint32_t>(field.numbers.at(3)), type_name(field), field.numbers.at(4) == 3, oneof);
  }
  for (std::string_view inner : message.all(4)) add_enum(lines, name, inner);
}

Lines proto_lines(const std::string& descriptors) {
  Lines lines;
  for (std::string_view bytes : Fields(descriptors).all(1)) {
    Fields file(bytes);
    std::string package = file.text(2);
    for (std::string_view message : file.all(4)) add_message(lines, package, message);
    for (std::string_view one : file.all(5)) add_enum(lines, package, one);
    for (std::string_view service_bytes : file.all(6)) {
      Fields service(service_bytes);
      for (std::string_view method_bytes : service.all(2)) {
        Fields method(method_bytes);
        std::string_view in = method.numbers.contains(5) ? "stream " : "", out = method.numbers.contains(6) ? "stream " : "";
        lines[cat('/', package, '.', service.text(1), '/', method.text(1))] =
            cat(in, method.text(2).substr(1), " -> ", out, method.text(3).substr(1));
      }
    }
  }
  return lines;
}

class VendorProtos : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access("/usr/bin/protoc", X_OK) != 0) GTEST_SKIP() << "needs /usr/bin/protoc (package protobuf-compiler)";
  }
  int protoc(const std::string& arguments) { return std::system(cat("/usr/bin/protoc -I " VENDOR_PROTOS " ", arguments).c_str()); }
  store::TempDir dir_;
};

TEST_F(VendorProtos, SayWhatTheTablesSay) {
  std::string out = dir_.file("descriptors");
  ASSERT_EQ(protoc(cat("--descriptor_set_out=", out, " kv.proto auth.proto rpc.proto v3lock.proto v3election.proto")), 0);
  Lines protos = proto_lines(read_all(out)), table = table_lines();
  EXPECT_GT(protos.size(), 300U);
  for (const auto& [what, said] : protos) EXPECT_EQ(table.contains(what) ? table.at(what) : "nothing in the table", said) << what;
  for (const auto& [what, said] : table) EXPECT_TRUE(protos.contains(what)) << what << " is in no .proto";
}

TEST_F(VendorProtos, NameEveryMethodThatIsServed) {
  std::string out = dir_.file("descriptors");
  ASSERT_EQ(protoc(cat("--descriptor_set_out=", out, " kv.proto auth.proto rpc.proto v3lock.proto v3election.proto")), 0);
  Lines protos = proto_lines(read_all(out));
  // Health is gRPC's own, monopod.Store carries JSON and backups.
  auto known = [&](std::string_view path) { return path.starts_with("/grpc.health.v1.") || path.starts_with("/monopod.") || protos.contains(std::string(path)); };
  for (const Method& method : all_methods()) EXPECT_TRUE(known(method.path)) << method.path;
  for (const StreamMethod& stream : all_streams()) EXPECT_TRUE(known(stream.path)) << stream.path;
}

TEST_F(VendorProtos, EncodeAsTheGatewayTranslates) {
  std::string text = dir_.file("text"), out = dir_.file("wire");
  std::ofstream(text) << R"(compare { result: NOT_EQUAL target: LEASE key: "k" lease: 0 range_end: "\0" }
                            success { request_put { key: "k" value: "\377\000" lease: -5 ignore_value: true } }
                            failure { request_txn { success { request_delete_range { key: "x" } } } })";
  ASSERT_EQ(protoc(cat("--encode=etcdserverpb.TxnRequest rpc.proto <", text, " >", out)), 0);
  Result<std::string> wire = json_to_wire(
      R"({"compare":[{"result":"NOT_EQUAL","target":"LEASE","key":"aw==","lease":"0","rangeEnd":"AA=="}],
          "success":[{"requestPut":{"key":"aw==","value":"/wA=","lease":-5,"ignoreValue":true}}],
          "failure":[{"requestTxn":{"success":[{"requestDeleteRange":{"key":"eA=="}}]}}]})",
      *schema::find_message("etcdserverpb.TxnRequest"));
  ASSERT_TRUE(wire) << wire.error().message();
  EXPECT_EQ(*wire, read_all(out));
}

}  // namespace
}  // namespace monopod::etcd
