// What takes time or a full disk; the protocol itself is tested in tests/integration/registry.
#include "registry/registry.h"

#include "async/test_support.h"
#include "base/failpoint.h"
#include "base/strings.h"
#include "codec/json.h"
#include "http/in_process.h"
#include "image/digest.h"
#include "image/manifest.h"
#include "image/test_archives.h"

namespace monopod::registry {
namespace {

using async::Loop;
using async::Task;
using image::digest_of;

struct World {
  explicit World(Loop& loop) : time(loop.executor()) {}
  image::TemporaryDirectory directory;
  async::MemoryStateStore state;
  async::Pool pool{2};
  async::FakeTime time;
  SeededRng rng{1};
  std::unique_ptr<Registry> registry;
  async::Scope* scope = nullptr;

  Task<Result<>> open() {
    registry.reset();
    RegistryOptions options{.data_dir = directory.path()};
    options.limits.uploads_max = 2;
    options.limits.blob_bytes_max = 100;
    CO_TRY_ASSIGN(registry, co_await Registry::open(std::move(options), pool, time, rng, state));
    co_return Result<>{};
  }
  Task<Result<http::Response>> call(std::string method, std::string target, std::string body = {}, http::Headers headers = {}) {
    co_return co_await http::call_in_process(*scope, *registry, {.method = std::move(method), .target = std::move(target), .headers = std::move(headers)}, share(std::move(body)));
  }
  Task<int> status(std::string method, std::string target, std::string body = {}, http::Headers headers = {}) {
    Result<http::Response> response = co_await call(std::move(method), std::move(target), std::move(body), std::move(headers));
    if (!response) co_return 0;
    (void)co_await response->body->read_all(1U << 20);
    co_return response->status;
  }
  Task<int> push(std::string repository, std::string blob) { return status("POST", cat("/v2/", repository, "/blobs/uploads/?digest=", digest_of(blob)), blob); }
  bool on_disk(std::string_view content) const { return std::filesystem::exists(directory / cat("registry/blobs/sha256/", image::digest_hex(digest_of(content)))); }
};

using Body = Task<Result<>> (*)(World&);
Task<Result<>> in_world(Loop& loop, Body body) {
  struct Run {
    World world;
    Body body;
    Task<Result<>> operator()(async::Scope& scope) {
      world.scope = &scope;
      CO_TRY(co_await world.open());
      co_return co_await body(world);
    }
  } run{World(loop), body};
  Run* at = &run;
  co_return co_await async::run_scoped([at](async::Scope& scope) { return (*at)(scope); });
}
#define REGISTRY_TEST(name)                          \
  Task<Result<>> name(World& world);                 \
  TEST(Registry, name) {                             \
    async::run_test([](Loop& loop) { return in_world(loop, name); }); \
  }                                                  \
  Task<Result<>> name(World& world)

std::string manifest_of(std::string_view blob) {
  return cat(R"({"schemaVersion":2,"config":{"mediaType":"x/y","digest":")", digest_of(blob), R"(","size":)", blob.size(), R"(},"layers":[]})");
}

REGISTRY_TEST(SweepTakesWhatNoManifestNamesAndNobodyAskedFor) {
  int pushed = co_await world.push("app", "named");
  EXPECT_EQ(pushed, 201);
  (void)co_await world.push("app", "idle");
  (void)co_await world.push("app", "asked");
  (void)co_await world.push("other", "named");  // there no manifest names it
  int put = co_await world.status("PUT", "/v2/app/manifests/1", manifest_of("named"), {{"Content-Type", image::kOciManifest}});
  EXPECT_EQ(put, 201);
  world.time.advance(std::chrono::hours(23));
  int asked = co_await world.status("HEAD", cat("/v2/app/blobs/", digest_of("asked")));
  EXPECT_EQ(asked, 200);
  auto freed = co_await world.registry->sweep();
  EXPECT_EQ(freed, 0U);
  EXPECT_TRUE(world.on_disk("idle"));
  world.time.advance(std::chrono::hours(2));
  freed = co_await world.registry->sweep();
  EXPECT_EQ(freed, std::string_view("idle").size());
  EXPECT_FALSE(world.on_disk("idle"));
  EXPECT_TRUE(world.on_disk("asked"));
  EXPECT_TRUE(world.on_disk("named"));
  int gone = co_await world.status("HEAD", cat("/v2/other/blobs/", digest_of("named")));
  EXPECT_EQ(gone, 404);
  CO_TRY(co_await world.open());
  int after = co_await world.status("GET", "/v2/app/manifests/1");
  EXPECT_EQ(after, 200);
  co_return Result<>{};
}

REGISTRY_TEST(UploadsAreBoundedInNumberSizeAndTime) {
  int first = co_await world.status("POST", "/v2/app/blobs/uploads/");
  Result<http::Response> second = co_await world.call("POST", "/v2/app/blobs/uploads/");
  CO_ASSERT_TRUE(second);
  int third = co_await world.status("POST", "/v2/app/blobs/uploads/");
  EXPECT_EQ(first, 202);
  EXPECT_EQ(third, 429);
  std::string where(second->headers.find("location").value_or(""));
  int full = co_await world.status("PATCH", where, std::string(100, 'x'));
  EXPECT_EQ(full, 202);
  int past = co_await world.status("PATCH", where, "x");
  EXPECT_EQ(past, 413);
  world.time.advance(std::chrono::hours(1));
  int late = co_await world.status("POST", "/v2/app/blobs/uploads/");
  EXPECT_EQ(late, 202);
  int gone = co_await world.status("GET", where);
  EXPECT_EQ(gone, 404);
  co_return Result<>{};
}

REGISTRY_TEST(AStepThatFailsLeavesNothingBehind) {
  for (const char* point : {"registry.before_publish", "registry.before_record"}) {
    CO_TRY(arm_failpoints(cat(point, "=error")));
    int failed = co_await world.push("app", point);
    disarm_failpoints();
    EXPECT_EQ(failed, 500);
    int absent = co_await world.status("GET", cat("/v2/app/blobs/", digest_of(point)));
    EXPECT_EQ(absent, 404);
    int again = co_await world.push("app", point);
    EXPECT_EQ(again, 201);
    EXPECT_TRUE(world.on_disk(point));
  }
  CO_TRY(arm_failpoints("registry.before_record=error"));
  (void)co_await world.push("app", "orphan");
  disarm_failpoints();
  EXPECT_TRUE(world.on_disk("orphan"));
  CO_TRY(co_await world.open());
  EXPECT_FALSE(world.on_disk("orphan"));
  co_return Result<>{};
}

}  // namespace
}  // namespace monopod::registry
