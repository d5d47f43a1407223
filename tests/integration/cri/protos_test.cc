// vendor-protos/cri compiled by protoc, against the schema that messages are translated by and the methods that are served; and messages that protoc
// encoded, decoded here.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "base/strings.h"
#include "codec/proto_wire.h"
#include "cri/messages.h"
#include "cri/service.h"
#include "tests/support/descriptor_fields.h"

namespace monopod::cri {
namespace {

using testing::Fields;

// Everything that either says, a line each: "Mount.container_path" is "1 string".
using Lines = std::map<std::string, std::string>;

Lines table_lines() {
  static constexpr std::string_view kNames[] = {"string", "bytes", "bool", "int64", "int32", "uint64", "uint32", "", "", "map"};
  Lines out;
  for (const Message& message : Schema::get().messages()) {
    out[std::string(message.name)] = "message";
    for (const Field& field : message.fields)
      out[cat(message.name, ".", field.name)] = cat(field.number, field.repeated ? " repeated " : " ", field.of.empty() ? kNames[static_cast<std::size_t>(field.kind)] : field.of);
  }
  return out;
}

Lines proto_lines(std::string_view file_bytes) {
  static const std::map<std::int64_t, std::string> kScalars = {{3, "int64"}, {4, "uint64"}, {5, "int32"}, {8, "bool"}, {9, "string"}, {12, "bytes"}, {13, "uint32"}};
  Lines out;
  for (std::string_view bytes : Fields(file_bytes).all(4)) {
    Fields message(bytes);
    out[message.text(1)] = "message";
    std::set<std::string> entries;  // nested types of maps
    for (std::string_view nested : message.all(3)) entries.insert(Fields(nested).text(1));
    for (std::string_view one : message.all(2)) {
      Fields field(one);
      std::string type = field.text(6);
      if (!type.empty()) type = type.substr(std::string_view(".runtime.v1.").size());
      bool is_map = entries.contains(type.substr(type.rfind('.') + 1)) && type.starts_with(message.text(1) + ".");
      bool repeated = field.numbers.at(4) == 3 && !is_map;
      out[cat(message.text(1), ".", field.text(1))] = cat(field.numbers.at(3), repeated ? " repeated " : " ", is_map ? "map" : type.empty() ? kScalars.at(field.numbers.at(5)) : type);
    }
  }
  return out;
}

class VendorProtos : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access("/usr/bin/protoc", X_OK) != 0) GTEST_SKIP() << "needs /usr/bin/protoc (package protobuf-compiler)";
    dir_ = (std::filesystem::temp_directory_path() / cat("monopod-cri-", ::getpid())).string();
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  static std::string read_all(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
  static int protoc(const std::string& arguments) { return std::system(cat("/usr/bin/protoc -I " VENDOR_PROTOS " ", arguments).c_str()); }
  std::string file() {  // the one FileDescriptorProto
    EXPECT_EQ(protoc(cat("--descriptor_set_out=", dir_, "/descriptors api.proto")), 0);
    return std::string(Fields(read_all(dir_ + "/descriptors")).all(1).at(0));
  }
  std::string encode(const std::string& message, const std::string& text) {
    std::ofstream(dir_ + "/text") << text;
    EXPECT_EQ(protoc(cat("--encode=runtime.v1.", message, " api.proto < ", dir_, "/text > ", dir_, "/wire")), 0);
    return read_all(dir_ + "/wire");
  }
  std::string dir_;
};

TEST_F(VendorProtos, SayWhatTheTableSays) {
  Lines protos = proto_lines(file()), table = table_lines();
  EXPECT_GT(protos.size(), 400U);
  for (const auto& [what, said] : protos) EXPECT_EQ(table.contains(what) ? table.at(what) : "nothing in the table", said) << what;
  for (const auto& [what, said] : table) EXPECT_TRUE(protos.contains(what)) << what << " is in no .proto";
}

TEST_F(VendorProtos, NameExactlyTheMethodsThatAreServed) {
  std::set<std::string> named;
  std::string bytes = file();
  for (std::string_view service_bytes : Fields(bytes).all(6)) {
    Fields service(service_bytes);
    for (std::string_view method : service.all(2)) named.insert(cat("/runtime.v1.", service.text(1), "/", Fields(method).text(1)));
  }
  std::vector<std::string> served = Service::method_paths();
  EXPECT_EQ(named, std::set<std::string>(served.begin(), served.end()));
}

TEST_F(VendorProtos, AreEncodedAsTheyAreRead) {
  std::string wire = encode("CreateContainerRequest", R"(pod_sandbox_id: "s" config { metadata { name: "c" attempt: 4294967295 } command: "a" command: ""
    labels { key: "e" value: "" } tty: true stop_signal: SIGUSR1 linux { resources { cpu_quota: -1 hugepage_limits { page_size: "2MB" limit: 18446744073709551615 } }
    security_context { supplemental_groups: 1 supplemental_groups: 70000 run_as_user { } seccomp { profile_type: Localhost } } } } sandbox_config { })");
  const Message& type = *Schema::get().find("CreateContainerRequest");
  Result<json::Value> tree = decode_message(wire, type);
  ASSERT_TRUE(tree) << tree.error().message();
  EXPECT_EQ(json::format(*tree),
            R"({"pod_sandbox_id":"s","config":{"metadata":{"name":"c","attempt":4294967295},"command":["a",""],"labels":{"e":""},"tty":true,)"
            R"("linux":{"resources":{"cpu_quota":-1,"hugepage_limits":[{"page_size":"2MB","limit":18446744073709551615}]},)"
            R"("security_context":{"run_as_user":{},"supplemental_groups":[1,70000],"seccomp":{"profile_type":2}}},"stop_signal":29},"sandbox_config":{}})");
  EXPECT_EQ(decode_message(encode_message(*tree, type), type).value(), *tree);
}

}  // namespace
}  // namespace monopod::cri
