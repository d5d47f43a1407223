#include "image/manifest.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "base/strings.h"

namespace monopod::image {
namespace {

const std::string kDigest = "sha256:" + std::string(64, '1');

std::string descriptor(std::string_view type, std::string_view extra = "") {
  return cat(R"({"mediaType":")", type, R"(","digest":")", kDigest, R"(","size":3)", extra, "}");
}
std::string manifest(std::string_view layer_type, std::string_view extra = "") {
  return cat(R"({"schemaVersion":2,"mediaType":")", kOciManifest, R"(","config":)", descriptor(kOciConfig), R"(,"layers":[)", descriptor(layer_type), "]", extra, "}");
}
std::string message_of(std::string_view text, std::string_view type = "") {
  auto parsed = parse_manifest(text, type, Limits{});
  return parsed ? "ok" : parsed.error().message();
}

TEST(Manifest, TypeIsDecidedByMediaTypeAlone) {
  EXPECT_EQ(message_of(manifest(kOciLayer)), "ok");
  EXPECT_NE(message_of(manifest(kOciLayer, R"(,"manifests":[])")).find("both an index and a manifest"), std::string::npos);
  EXPECT_NE(message_of(manifest(kOciLayer), kOciIndex).find("was announced"), std::string::npos);
  EXPECT_NE(message_of(R"({"schemaVersion":2,"manifests":[]})").find("unknown media type"), std::string::npos);
  EXPECT_EQ(message_of(R"({"schemaVersion":2,"manifests":[]})", kOciIndex), "ok");
  EXPECT_NE(message_of(R"({"schemaVersion":1,"fsLayers":[]})").find("schemaVersion"), std::string::npos);
}

TEST(Manifest, ForeignAndUnknownLayersAreRefused) {
  for (std::string_view type : {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "application/vnd.oci.image.layer.nondistributable.v1.tar", "text/plain", ""})
    EXPECT_NE(message_of(manifest(type)).find("unknown media type"), std::string::npos) << type;
  std::string artifact = cat(R"({"schemaVersion":2,"mediaType":")", kOciManifest, R"(","config":)", descriptor("application/vnd.cncf.helm.config.v1+json"), R"(,"layers":[]})");
  EXPECT_NE(message_of(artifact).find("not a container image"), std::string::npos);
}

TEST(Manifest, CountsAndDigestsAreLimited) {
  std::string many = cat(R"({"schemaVersion":2,"mediaType":")", kOciManifest, R"(","config":)", descriptor(kOciConfig), R"(,"layers":[)");
  for (int i = 0; i < 501; ++i) many += cat(i > 0 ? "," : "", descriptor(kOciLayer));
  EXPECT_NE(message_of(many + "]}").find("501 layers exceed"), std::string::npos);
  std::string bad = manifest(kOciLayer);
  bad.replace(bad.find(kDigest), kDigest.size(), "sha256:../../../../etc/passwd");
  EXPECT_NE(message_of(bad).find("digest"), std::string::npos);
  std::string negative = manifest(kOciLayer);
  negative.replace(negative.find(":3"), 2, ":-3");
  EXPECT_NE(message_of(negative).find("bad size"), std::string::npos);
}

TEST(Manifest, PlatformChoicePrefersTheExactVariant) {
  auto entry = [](std::string architecture, std::string variant, std::uint64_t size) {
    return Descriptor{.digest = kDigest, .size = size, .platform = Platform{"linux", std::move(architecture), std::move(variant)}};
  };
  Index index{{entry("amd64", "", 1), entry("arm64", "", 2), entry("arm64", "v8", 3), entry("unknown", "", 4)}};
  EXPECT_EQ(choose_platform(index, {"linux", "arm64", "v8"})->size, 3U);
  EXPECT_EQ(choose_platform(index, {"linux", "amd64", ""})->size, 1U);
  EXPECT_FALSE(choose_platform(index, {"linux", "riscv64", ""}));
}

TEST(Manifest, GarbageNeverCrashes) {
  SeededRng rng(9);
  const std::string good = manifest(kOciLayer);
  const std::string config = R"({"os":"linux","architecture":"amd64","config":{"Cmd":["a"],"Env":null,"Labels":{"a":"b"},"Volumes":{"/v":{}}},"rootfs":{"type":"layers","diff_ids":[]}})";
  for (int i = 0; i < 5'000; ++i) {
    std::string bad = i % 2 == 0 ? good : config;
    for (std::uint64_t k = rng.below(4) + 1; k > 0; --k) {
      std::size_t at = rng.below(bad.size());
      if (rng.below(2) == 0) bad[at] = static_cast<char>(rng.next());
      else bad.erase(at, rng.below(20));
      if (bad.empty()) bad = "x";
    }
    (void)parse_manifest(bad, kOciManifest, Limits{});
    (void)parse_image_config(bad);
  }
}

TEST(ImageConfig, WhatIsWrittenReadsBackEqual) {
  ImageConfig config{.platform = host_platform(), .entrypoint = {"/e"}, .cmd = {"a", "b"}, .env = {"A=1"}, .working_dir = "/w", .user = "1:2", .exposed_ports = {"80/tcp"}, .volumes = {"/v"},
                     .stop_signal = "SIGINT", .labels = {{"l", "m"}}, .diff_ids = {kDigest}};
  auto again = parse_image_config(format_image_config(config));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(format_image_config(*again), format_image_config(config));
  EXPECT_FALSE(parse_image_config(R"({"rootfs":{"type":"layers","diff_ids":[]},"config":{"Volumes":{"../../etc":{}}}})"));
  EXPECT_FALSE(parse_image_config(R"({"rootfs":{"type":"layers","diff_ids":[]},"config":{"Env":["a\u0000b"]}})"));
}

}  // namespace
}  // namespace monopod::image
