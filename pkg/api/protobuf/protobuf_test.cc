#include "api/protobuf/protobuf.h"

#include <gtest/gtest.h>

#include "api/protobuf/wire.h"
#include "api/schema/sample.h"
#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

json::Value canonical(json::Value v, const Type& type) {
  auto done = canonicalize(v, type);
  EXPECT_TRUE(done) << type.name() << ": " << (done ? "" : done.error().message());
  return v;
}

TEST(Protobuf, EveryKindComesBackAsItWent) {
  SeededRng rng(5);
  for (const Resource& r : resources()) {
    json::Value sample = make_sample(r.type(), rng, 4);
    sample.get_object()["apiVersion"] = r.group_version();
    sample.get_object()["kind"] = r.kind();
    sample = canonical(std::move(sample), r.type());
    json::Value twice = canonical(sample, r.type());
    EXPECT_EQ(json::format(twice), json::format(sample)) << r.kind();
    auto bytes = encode_protobuf(sample, r.type());
    ASSERT_TRUE(bytes) << r.kind() << ": " << bytes.error().message();
    EXPECT_EQ(peek_protobuf_type(*bytes)->kind, r.kind());
    auto back = decode_protobuf(*bytes, {&r.type(), r.group_version(), r.kind()});
    ASSERT_TRUE(back) << r.kind() << ": " << back.error().message();
    EXPECT_TRUE(json::format(*back) == json::format(sample)) << r.kind();
  }
}

TEST(Protobuf, BytesAreTheOnesGoWrites) {
  // kubectl create configmap a --from-literal=k=v: metadata{name "a"}, data{k: v}.
  const Type& type = *find_type("", "v1", "ConfigMap");
  auto bytes = encode_protobuf(*json::parse(R"({"apiVersion":"v1","data":{"k":"v"},"kind":"ConfigMap","metadata":{"name":"a"}})"), type);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(format_hex(as_bytes(*bytes)), "6b3873000a0f0a0276311209436f6e6669674d6170120d1206" "0a016b120176" "0a03" "0a0161" "1a002200");
}

TEST(Protobuf, TextOfAWiderTypeGivesWhatTheTypeHas) {
  constexpr std::string_view kPod = R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"nodeName":"n"},"status":{}})";
  auto bytes = encode_protobuf(kPod, "meta.k8s.io/v1", "PartialObjectMetadata", *find_type("meta.k8s.io", "v1", "PartialObjectMetadata"));
  ASSERT_TRUE(bytes) << bytes.error().message();
  auto back = decode_protobuf(*bytes, {find_type("meta.k8s.io", "v1", "PartialObjectMetadata"), "meta.k8s.io/v1", "PartialObjectMetadata"});
  ASSERT_TRUE(back);
  EXPECT_EQ(json::format(*back), R"({"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"name":"a"}})");
}

// A message's length is written once the message is: at each size where the length takes one byte more.
TEST(Protobuf, LengthsOfEverySizeStandBeforeTheirMessage) {
  const Type& type = *find_type("", "v1", "ConfigMap");
  for (std::size_t size : {0U, 1U, 110U, 120U, 127U, 128U, 129U, 16370U, 16380U, 16384U, 2'097'140U, 2'097'160U}) {
    std::string text = cat(R"({"apiVersion":"v1","data":{"quote\"d":")", std::string(size, 'x'), R"(\n"},"kind":"ConfigMap","metadata":{"name":"a"}})");
    auto bytes = encode_protobuf(text, "v1", "ConfigMap", type);
    ASSERT_TRUE(bytes) << size;
    auto back = decode_protobuf(*bytes, {&type, "v1", "ConfigMap"});
    ASSERT_TRUE(back) << size;
    EXPECT_TRUE(json::format(*back) == text) << size;
  }
}

TEST(Protobuf, TextThatIsNotTheTypesIsAnError) {
  const Type& type = *find_type("", "v1", "Pod");
  std::string out;
  for (std::string_view text : {"", "[]", "{", R"({"metadata":[]})", R"({"metadata":{"name":1}})", R"({"metadata":{"name":"a})", R"({"metadata":{"generation":"1"}})",
                                R"({"metadata":{"generation":1.5}})", R"({"metadata":{"creationTimestamp":"yesterday"}})", R"({"spec":{"hostNetwork":1}})",
                                R"({"spec":{"containers":{}}})", R"({"spec":{"containers":[{"name":"a"})", R"({"metadata":{"labels":[]}})"})
    EXPECT_FALSE(append_protobuf_message(out, text, type)) << text;
}

TEST(Protobuf, ZeroValuesOfGoAreNotKept) {
  // Every plain string of ObjectMeta is written by Go even when empty, and an unset time is an empty message.
  std::string meta, raw, unknown, type_meta;
  wire::put_bytes(meta, 1, "a");
  for (std::uint32_t empty : {2U, 3U, 4U, 5U, 6U, 8U}) wire::put_bytes(meta, empty, "");
  wire::put_number(meta, 7, 0);
  wire::put_bytes(raw, 1, meta);
  wire::put_bytes(type_meta, 1, "v1");
  wire::put_bytes(type_meta, 2, "ConfigMap");
  wire::put_bytes(unknown, 1, type_meta);
  wire::put_bytes(unknown, 2, raw);
  auto back = decode_protobuf(std::string("k8s\0", 4) + unknown, {find_type("", "v1", "ConfigMap"), "v1", "ConfigMap"});
  ASSERT_TRUE(back);
  EXPECT_EQ(json::format(*back), R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"}})");
}

TEST(Protobuf, DeleteOptionsAndStatusAreKnown) {
  const Type& type = *find_type("", "v1", "DeleteOptions");
  json::Value options = *json::parse(R"({"apiVersion":"v1","gracePeriodSeconds":0,"kind":"DeleteOptions","preconditions":{"uid":"u"},"propagationPolicy":"Background"})");
  auto back = decode_protobuf(*encode_protobuf(options, type), {&type, "v1", "DeleteOptions"});
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, options);
}

TEST(Protobuf, GarbageIsRefusedWithoutACrash) {
  SeededRng rng(9);
  auto all = resources();
  for (int i = 0; i < 4000; ++i) {
    const Resource& r = all[rng.below(all.size())];
    auto bytes = encode_protobuf(canonical(make_sample(r.type(), rng, 2), r.type()), r.type());
    ASSERT_TRUE(bytes);
    std::string bent = *bytes;
    for (std::uint64_t n = rng.below(6) + 1; n > 0; --n) {
      switch (rng.below(3)) {
        case 0: bent[rng.below(bent.size())] = static_cast<char>(rng.next()); break;
        case 1: bent.resize(rng.below(bent.size()) + 1); break;
        default: bent.insert(rng.below(bent.size()), 1, static_cast<char>(rng.next())); break;
      }
    }
    (void)decode_protobuf(bent, {&r.type(), r.group_version(), r.kind()});
    (void)peek_protobuf_type(bent);
    // The wrong type for good bytes.
    const Resource& other = all[rng.below(all.size())];
    (void)decode_protobuf(*bytes, {&other.type(), other.group_version(), other.kind()});
  }
  EXPECT_FALSE(decode_protobuf("{}", {find_type("", "v1", "Pod"), "v1", "Pod"}));
}

TEST(Protobuf, DeepNestingIsRefused) {
  // JSONSchemaProps.not (number 24) inside itself.
  const Type& type = *find_type("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
  std::uint32_t number = type.find("not")->proto_number();
  std::string body;
  for (int i = 0; i < 500; ++i) {
    std::string outer;
    wire::put_bytes(outer, number, body);
    body = std::move(outer);
  }
  std::string unknown;
  wire::put_bytes(unknown, 2, body);
  auto back = decode_protobuf(std::string("k8s\0", 4) + unknown, {&type, "v1", "X"});
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().message(), "protobuf: nested too deep");
}

}  // namespace
}  // namespace monopod::api
