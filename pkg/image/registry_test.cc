// Pulls against a registry on loopback.
#include "image/registry.h"

#include "async/test_support.h"
#include "base/strings.h"
#include "http/query.h"
#include "http/server.h"
#include "image/store.h"
#include "image/test_archives.h"

namespace monopod::image {
namespace {

using async::Loop;
using async::Task;

// Serves one image as library/app:1 from its layout's files.
class FakeRegistry final : public http::Handler {
 public:
  TestImage image;
  std::string auth;            // "", "basic", "bearer"
  std::string base;            // own URL
  bool redirect_blobs = false;
  bool redirect_manifests = false;
  bool index = false;          // the tag names an index
  std::size_t cut_blobs_at = 0;
  std::vector<std::string> log;
  std::string redirected_authorization = "none";

  Task<Result<>> handle(http::Exchange& exchange) override {
    std::string path(exchange.request().raw_path());
    std::string authorization(exchange.request().headers.find("authorization").value_or(""));
    log.push_back(path);
    if (path == "/token") {
      auto query = http::parse_query(exchange.request().raw_query());
      if (authorization != "Basic " + format_base64("user:pass") || query.get("scope") != "repository:app:pull" || query.get("service") != "reg")
        co_return co_await exchange.respond(401, {}, std::string("{}"));
      co_return co_await exchange.respond(200, {}, std::string(R"({"token":"t0k"})"));
    }
    if (path.starts_with("/elsewhere/")) {
      redirected_authorization = authorization;
      co_return co_await blob(exchange, path.substr(11));
    }
    if (auth == "basic" && authorization != "Basic " + format_base64("user:pass"))
      co_return co_await exchange.respond(401, {{"WWW-Authenticate", "Basic realm=\"x\""}}, std::string("{}"));
    if (auth == "bearer" && authorization != "Bearer t0k")
      co_return co_await exchange.respond(401, {{"WWW-Authenticate", cat("Bearer realm=\"", base, "/token\",service=\"reg\",scope=\"repository:app:pull\"")}},
                                          std::string(R"({"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]})"));
    constexpr std::string_view kManifests = "/v2/app/manifests/", kBlobs = "/v2/app/blobs/";
    if (path.starts_with(kManifests)) {
      std::string wanted = path.substr(kManifests.size());
      if (redirect_manifests) co_return co_await exchange.respond(307, {{"Location", cat(base, "/elsewhere/", digest_of(image.manifest))}}, std::string());
      std::string listing = cat(R"({"schemaVersion":2,"mediaType":")", kOciIndex, R"(","manifests":[{"mediaType":")", kOciManifest, R"(","digest":")", digest_of(image.manifest), R"(","size":)",
                                image.manifest.size(), R"(,"platform":{"os":"linux","architecture":")", host_platform().architecture, R"("}}]})");
      if (index && wanted == "1") co_return co_await exchange.respond(200, {{"Content-Type", kOciIndex}}, listing);
      if (wanted == "1" || wanted == digest_of(image.manifest)) co_return co_await exchange.respond(200, {{"Content-Type", kOciManifest}}, image.manifest);
      co_return co_await exchange.respond(404, {}, std::string(R"({"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]})"));
    }
    if (path.starts_with(kBlobs)) {
      std::string digest = path.substr(kBlobs.size());
      if (redirect_blobs) co_return co_await exchange.respond(307, {{"Location", cat(base, "/elsewhere/", digest)}}, std::string());
      co_return co_await blob(exchange, digest);
    }
    co_return co_await exchange.respond(404, {}, std::string());
  }

 private:
  Task<Result<>> blob(http::Exchange& exchange, std::string digest) {
    for (const auto& [name, bytes] : image.files)
      if (name == cat("blobs/sha256/", digest_hex(digest))) {
        if (cut_blobs_at == 0 || bytes.size() < cut_blobs_at) co_return co_await exchange.respond(200, {}, bytes);
        CO_TRY(co_await exchange.start(200, {}));
        CO_TRY(co_await exchange.write(share(bytes.substr(0, cut_blobs_at))));
        co_return fail(Code::kUnavailable, "cut");
      }
    co_return co_await exchange.respond(404, {}, std::string());
  }
};

struct World {
  explicit World(Loop& loop) : server(loop.executor(), time, registry, {}) {
    registry.image.layers = {make_tar({file_entry("a", std::string(3U << 20, 'a'))}), make_tar({file_entry("b", "b")})};
    registry.image.compression = codec::Compression::kGzip;
    registry.image.build();
  }
  TemporaryDirectory directory;
  async::MemoryStateStore state;
  async::Pool pool{2};
  async::RealTime time;
  FakeRegistry registry;
  http::Server server;
  std::uint16_t port = 0;
  std::string name() const { return cat("127.0.0.1:", port, "/app:1"); }
};

using Body = Task<Result<>> (*)(World&, ImageStore&);
Task<Result<>> serve(World& world, async::Scope& scope, Body body) {
  CO_TRY_ASSIGN(sys::Fd socket, http::listen_tcp("127.0.0.1", 0));
  CO_TRY_ASSIGN(world.port, http::local_port(socket));
  world.registry.base = cat("http://127.0.0.1:", world.port);
  scope.spawn(world.server.serve(std::move(socket)));
  ImageStore::Options options{.data_dir = world.directory.path(), .import_drop_ins = false};
  options.hosts_dir = world.directory / "hosts";
  std::filesystem::create_directories(world.directory / "hosts/mirrored.example");
  write_text(world.directory / "hosts/mirrored.example/hosts.toml", cat("[host.\"http://127.0.0.1:1\"]\n[host.\"", world.registry.base, "\"]\n  capabilities = [\"pull\"]\n"));
  CO_TRY_ASSIGN(auto store, co_await ImageStore::open(options, world.pool, world.time, world.state));
  Result<> result = co_await body(world, *store);
  scope.cancel();
  co_return result;
}
Task<Result<>> in_world(Loop& loop, Body body) {
  World world(loop);
  World* at = &world;
  co_return co_await async::run_scoped([at, body](async::Scope& scope) { return serve(*at, scope, body); });
}
void run(Body body) {
  async::run_test([body](Loop& loop) { return in_world(loop, body); });
}

TEST(Pull, ImageArrivesOnceAndIsNamed) {
  run([](World& world, ImageStore& store) -> Task<Result<>> {
    CO_TRY_ASSIGN(ImportedImage image, co_await store.pull(world.name(), {}));
    EXPECT_EQ(image.id, world.registry.image.id());
    EXPECT_TRUE(store.find(world.name()));
    std::size_t requests = world.registry.log.size();
    EXPECT_EQ(requests, 4U);
    CO_TRY(co_await store.pull(world.name(), {}));
    EXPECT_EQ(world.registry.log.size(), requests + 2) << "layers that are here are not fetched again";
    co_return Result<>{};
  });
}

TEST(Pull, IndexAndDigestNamesWork) {
  run([](World& world, ImageStore& store) -> Task<Result<>> {
    world.registry.index = true;
    CO_TRY(co_await store.pull(world.name(), {}));
    std::string by_digest = cat("127.0.0.1:", world.port, "/app@", digest_of(world.registry.image.manifest));
    CO_TRY_ASSIGN(ImportedImage again, co_await store.pull(by_digest, {}));
    EXPECT_TRUE(again.references.empty());
    EXPECT_TRUE(store.find(by_digest));
    auto digests = store.find(by_digest)->repo_digests;
    EXPECT_EQ(digests.size(), 2U) << "as the registry was asked: by the index, then by the manifest";
    EXPECT_NE(std::ranges::find(digests, by_digest), digests.end());
    CO_TRY(co_await store.remove(again.id));
    CO_TRY(co_await store.pull(by_digest, {}));
    EXPECT_EQ(store.find(again.id)->repo_digests, std::vector<std::string>{by_digest}) << "it has no other name";
    EXPECT_TRUE(store.find(again.id)->references.empty());
    co_return Result<>{};
  });
}

TEST(Pull, BearerAndBasicCredentialsAreUsedAndNotSentAlongRedirects) {
  run([](World& world, ImageStore& store) -> Task<Result<>> {
    world.registry.redirect_blobs = true;
    for (const char* auth : {"bearer", "basic"}) {
      world.registry.auth = auth;
      auto anonymous = co_await store.pull(world.name(), {});
      EXPECT_FALSE(anonymous);
      if (!anonymous) EXPECT_EQ(anonymous.error().code(), Code::kUnauthenticated) << anonymous.error().message();
      CO_TRY(co_await store.pull(world.name(), {.username = "user", .password = "pass"}));
      EXPECT_EQ(world.registry.redirected_authorization, "");
      CO_TRY(co_await store.remove(world.name()));
      world.registry.redirected_authorization = "none";
      world.registry.redirect_manifests = true;
      CO_TRY(co_await store.pull(world.name(), {.username = "user", .password = "pass"}));
      EXPECT_EQ(world.registry.redirected_authorization, "");
      CO_TRY(co_await store.remove(world.name()));
      world.registry.redirect_manifests = false;
    }
    co_return Result<>{};
  });
}

TEST(Pull, ErrorsSayWhatTheRegistrySaid) {
  run([](World& world, ImageStore& store) -> Task<Result<>> {
    auto absent = co_await store.pull(cat("127.0.0.1:", world.port, "/app:2"), {});
    EXPECT_EQ(absent.error().code(), Code::kNotFound);
    EXPECT_EQ(absent.error().message(), cat("pull 127.0.0.1:", world.port, "/app:2: manifest: status 404 not found: manifest unknown"));
    auto refused = co_await store.pull("127.0.0.1:1/app:1", {});
    EXPECT_EQ(refused.error().code(), Code::kUnavailable) << refused.error().message();
    auto https = co_await store.pull("registry.example/app:1", {});
    EXPECT_EQ(https.error().code(), Code::kFailedPrecondition) << https.error().message();
    auto malformed = co_await store.pull("UPPER", {});
    EXPECT_EQ(malformed.error().code(), Code::kInvalidArgument);
    co_return Result<>{};
  });
}

TEST(Pull, MirrorsAreTriedInOrder) {
  run([](World&, ImageStore& store) -> Task<Result<>> {
    CO_TRY(co_await store.pull("mirrored.example/app:1", {}));
    EXPECT_TRUE(store.find("mirrored.example/app:1"));
    co_return Result<>{};
  });
}

TEST(Pull, WrongOrCutBlobsPublishNothing) {
  run([](World& world, ImageStore& store) -> Task<Result<>> {
    std::string& blob = world.registry.image.files[0].second;
    std::string good = blob;
    blob = *codec::compress(codec::Compression::kGzip, make_tar({file_entry("evil", "x")}));
    auto wrong = co_await store.pull(world.name(), {});
    EXPECT_EQ(wrong.error().code(), Code::kDataLoss) << wrong.error().message();
    blob = good;
    world.registry.cut_blobs_at = 1'000;
    auto cut = co_await store.pull(world.name(), {});
    EXPECT_FALSE(cut);
    EXPECT_TRUE(store.list().empty());
    CO_TRY_ASSIGN(Usage usage, co_await store.usage());
    EXPECT_EQ(usage.layers + usage.blob_bytes, 0U);
    EXPECT_TRUE(std::filesystem::is_empty(world.directory / "content/staging"));
    world.registry.cut_blobs_at = 0;
    CO_TRY(co_await store.pull(world.name(), {}));
    co_return Result<>{};
  });
}

}  // namespace
}  // namespace monopod::image
