#include "registry/registry.h"

#include <sys/stat.h>

#include "async/scope.h"
#include "base/log.h"
#include "base/strings.h"
#include "registry/access.h"
#include "registry/document.h"
#include "registry/service.h"

namespace monopod::registry {
namespace {

async::Task<> keep(async::Task<Result<>> step, Result<>& out) { out = co_await std::move(step); }

}  // namespace

async::Task<Result<>> to_the_end(async::Task<Result<>> step) {
  Result<> out;
  co_await async::shielded(keep(std::move(step), out));
  co_return out;
}

async::Task<Result<>> respond_failure(http::Exchange& exchange, Error error) {
  bool full = error.code() == Code::kResourceExhausted;
  log::error("registry request failed", {{"method", exchange.request().method}, {"target", exchange.request().target}, {"error", error}});
  co_return co_await respond(exchange, full ? kDiskFull : kInternal, error.message());
}

std::string blob_location(std::string_view repository, std::string_view digest) { return cat("/v2/", repository, "/blobs/", digest); }

async::Task<Result<>> Service::load() {
  CO_TRY_ASSIGN(auto records, co_await state_.list(kBucket));
  std::vector<std::string> blobs = co_await pool_.run([&] { return content_->list_blobs(); });
  std::vector<std::string> dropped;
  catalog_ = Catalog::load(records, {blobs.begin(), blobs.end()}, dropped);
  Changes changes;
  for (std::string& key : dropped) {
    log::warn("registry record dropped: what it names is not there", {{"record", key}});
    changes.push_back({.key = std::move(key)});
  }
  if (!changes.empty()) CO_TRY(co_await state_.apply(kBucket, std::move(changes), async::Lasts::kForever));
  co_return co_await remove_unheld(std::move(blobs));  // of uploads that were not recorded
}

async::Task<Result<>> Service::apply(Changes changes) {
  if (changes.empty()) co_return Result<>{};
  Result<> applied = co_await state_.apply(kBucket, std::move(changes), async::Lasts::kForever);
  if (!applied) CO_TRY(co_await load());  // memory says what the records say
  co_return applied;
}

async::Task<Result<>> Service::remove_unheld(std::vector<std::string> digests) {
  std::set<std::string> held = catalog_.contents();
  std::erase_if(digests, [&](const std::string& digest) { return held.contains(digest); });
  co_return co_await pool_.run([&]() -> Result<> {
    for (const std::string& digest : digests)
      if (Result<> removed = content_->root().remove_file(image::Content::blob_entry(digest)); !removed && removed.error().code() != Code::kNotFound) return removed;
    return {};
  });
}

async::Task<Result<>> Service::unlocked() {
  while (locked_) CO_TRY(co_await unlocked_.wait());  // forever: its holder ends
  co_return Result<>{};
}

void Service::touch(const std::string& repository, const std::string& digest) { touched_.insert_or_assign({repository, digest}, time_.mono()); }

async::Task<Result<>> Service::handle(http::Exchange& exchange) {
  Result<std::string> path = http::decode_path(exchange.request().raw_path());
  if (!path) co_return co_await respond(exchange, kNotFound);
  Route at = parse_route(*path);
  if (at.kind == Route::Kind::kNone) co_return co_await respond(exchange, kNotFound);
  if (options_.access != nullptr) {
    std::string authorization(exchange.request().headers.find("authorization").value_or(""));
    bool allowed = co_await options_.access->allows(std::move(authorization), pool_);
    if (!allowed) co_return co_await respond(exchange, kUnauthorized, {}, {{"WWW-Authenticate", "Basic realm=\"registry\", charset=\"UTF-8\""}, {"Docker-Distribution-API-Version", "registry/2.0"}});
  }
  if (!at.name.empty() && !is_repository_name(at.name)) co_return co_await respond(exchange, kNameInvalid, at.name.substr(0, 300));
  Call call{.exchange = exchange, .route = at, .query = http::parse_query(exchange.request().raw_query())};
  Result<> done = co_await route(call);
  if (done || exchange.started() || done.error().code() == Code::kCancelled) co_return done;
  if (done.error().code() == Code::kInvalidArgument) co_return co_await respond(exchange, kUploadInvalid, done.error().message());  // the body's framing
  co_return co_await respond_failure(exchange, std::move(done).error());
}

async::Task<Result<>> Service::route(Call& call) {
  switch (call.route.kind) {
    case Route::Kind::kBase:
      if (!call.reads()) break;
      co_return co_await call.exchange.respond(200, {{"Content-Type", "application/json"}, {"Docker-Distribution-API-Version", "registry/2.0"}}, std::string("{}"));
    case Route::Kind::kCatalog:
      if (!call.reads()) break;
      co_return co_await catalog(call);
    case Route::Kind::kTags:
      if (!call.reads()) break;
      co_return co_await tags(call);
    case Route::Kind::kReferrers:
      if (!call.reads()) break;
      co_return co_await referrers(call);
    case Route::Kind::kManifest:
      co_return co_await manifest(call);
    case Route::Kind::kBlob:
      co_return co_await blob(call);
    case Route::Kind::kUploads:
      if (call.method() != "POST") break;
      co_return co_await begin_upload(call);
    case Route::Kind::kUpload:
      co_return co_await upload(call);
    case Route::Kind::kNone:
      break;
  }
  co_return co_await respond(call.exchange, kUnsupported);
}

async::Task<Result<>> Service::maintain() {
  for (;;) {
    CO_TRY(co_await time_.sleep_for(options_.limits.sweep_interval));
    Result<std::uint64_t> freed = co_await sweep();
    if (!freed) log::error("registry sweep failed", {{"error", freed.error()}});
    else if (*freed > 0) log::info("registry swept", {{"bytes", *freed}});
  }
}

async::Task<Result<std::uint64_t>> Service::sweep() {
  drop_idle_uploads();
  std::uint64_t freed = 0;
  CO_TRY(co_await unlocked());
  Lock lock(*this);
  CO_TRY(co_await to_the_end(sweep_locked(freed)));
  co_return freed;
}

// Blobs that no manifest of their repository names, and that nobody has sent or asked for lately.
async::Task<Result<>> Service::sweep_locked(std::uint64_t& freed) {
  const MonoTime horizon = time_.mono() - std::chrono::duration_cast<MonoTime::duration>(options_.limits.unreferenced_min);
  std::erase_if(touched_, [&](const auto& item) { return item.second <= horizon; });
  if (started_ > horizon) co_return Result<>{};  // what clients did before the start is not known
  Changes changes;
  std::vector<std::string> digests;
  std::vector<std::string> names;
  for (const auto& [name, repository] : catalog_.repositories()) names.push_back(name);
  for (const std::string& name : names) {
    const Repository& repository = *catalog_.find(name);
    std::vector<std::pair<std::string, std::string>> documents;  // digest and media type
    for (const auto& [digest, entry] : repository.manifests) documents.emplace_back(digest, entry.media_type);
    std::set<std::string, std::less<>> named;
    CO_TRY(co_await pool_.run([&]() -> Result<> {
      for (const auto& [digest, media_type] : documents) {
        TRY_ASSIGN(std::string text, content_->read_blob(digest, options_.limits.manifest_bytes_max));
        TRY_ASSIGN(Document document, parse_document(text, media_type));
        named.insert(document.blobs.begin(), document.blobs.end());
      }
      return {};
    }));
    std::vector<std::pair<std::string, std::uint64_t>> idle;
    for (const auto& [digest, size] : repository.blobs)
      if (!named.contains(digest) && !touched_.contains({name, digest})) idle.emplace_back(digest, size);
    for (const auto& [digest, size] : idle) {
      for (async::StateChange& change : catalog_.remove_blob(name, digest)) changes.push_back(std::move(change));
      if (!catalog_.holds(digest)) freed += size;
      digests.push_back(digest);
    }
  }
  CO_TRY(co_await apply(std::move(changes)));
  co_return co_await remove_unheld(std::move(digests));
}

async::Task<Result<std::unique_ptr<Registry>>> Registry::open(RegistryOptions options, async::Pool& pool, async::Time& time, Rng& rng, async::StateStore& state) {
  if (!options.data_dir.starts_with('/')) co_return fail(Code::kInvalidArgument, cat("registry: data directory \"", options.data_dir, "\" is not absolute"));
  async::Executor executor = co_await async::this_executor();
  auto content = co_await pool.run([&]() -> Result<std::unique_ptr<image::Content>> {
    if (::mkdir(options.data_dir.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno(cat("make directory ", options.data_dir));
    return image::Content::open(options.data_dir + "/registry");
  });
  if (!content) co_return fail(std::move(content).error().with("registry"));
  auto service = std::make_unique<Service>(std::move(options), executor, pool, time, rng, state, *std::move(content));
  CO_TRY(co_await service->load());
  co_return std::unique_ptr<Registry>(std::move(service));
}

}  // namespace monopod::registry
