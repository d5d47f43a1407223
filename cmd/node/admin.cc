#include "cmd/node/admin.h"

#include "async/channel.h"
#include "async/scope.h"
#include "base/strings.h"
#include "http/query.h"

namespace monopod::cmd {
namespace {

using async::Task;

SharedBytes line(const json::Value& value) { return share(json::format(value) + "\n"); }

http::Headers json_headers() { return {{"content-type", "application/json"}}; }

// Progress reports, thinned to what the client can read: a full channel drops them.
using Progress = async::Channel<image::ImportProgress>;

Task<Result<>> send_progress(Progress& progress, http::Exchange& exchange) {
  for (;;) {  // until the channel is closed
    Result<image::ImportProgress> report = co_await progress.pop();
    if (!report) co_return Result<>();
    json::Value text = json::Object{{"step", report->step}, {"bytes_done", report->bytes_done}, {"bytes_total", report->bytes_total}};
    CO_TRY(co_await exchange.write(line(text)));
  }
}

}  // namespace

json::Value describe_image(const image::Image& image) {
  json::Array references;
  for (const std::string& r : image.references) references.push_back(json::Value(r));
  json::Array layers;
  for (const std::string& l : image.layers) layers.push_back(json::Value(l));
  return json::Object{{"id", image.id}, {"references", std::move(references)}, {"manifest_digest", image.manifest_digest}, {"size_bytes", image.size_bytes},
                      {"layers", std::move(layers)}, {"imported", format_rfc3339(image.imported)}, {"platform", image::format_platform(image.config.platform)}};
}

Task<Result<>> AdminHandler::handle(http::Exchange& exchange) {
  const http::Request& request = exchange.request();
  http::Query query = http::parse_query(request.raw_query());
  std::string name(query.get("name").value_or(""));
  if (request.raw_path() == "/v1/status" && request.method == "GET") co_return co_await status(exchange);
  if (images_ == nullptr) co_return fail(Code::kFailedPrecondition, "this node runs without an agent: it keeps no images");
  if (request.raw_path() == "/v1/images/load" && request.method == "POST")
    co_return co_await load(exchange, std::string(query.get("path").value_or("")), std::string(query.get("reference").value_or("")));
  if (request.raw_path() == "/v1/images" && request.method == "GET") co_return co_await list(exchange);
  if (request.raw_path() == "/v1/images" && request.method == "DELETE") co_return co_await remove(exchange, std::move(name));
  co_return fail(Code::kNotFound, cat(request.method, " ", request.raw_path(), ": no such call"));
}

Task<Result<>> AdminHandler::load(http::Exchange& exchange, std::string path, std::string reference) {
  if (!path.starts_with('/')) co_return fail(Code::kInvalidArgument, "path must be absolute");
  CO_TRY(co_await exchange.start(200, json_headers()));
  Progress progress(co_await async::asio::this_coro::executor, 8);
  image::ImportOptions options{.reference = std::move(reference), .progress = [&progress](const image::ImportProgress& p) { progress.try_push(p); }};
  struct Import {
    AdminHandler& self;
    Progress& progress;
    http::Exchange& exchange;
    std::string path;
    image::ImportOptions options;
    Task<Result<>> operator()(async::Scope& scope) {
      scope.spawn(send_progress(progress, exchange));
      Result<std::vector<image::ImportedImage>> imported = co_await self.images_->import_file(path, options);
      progress.close();
      CO_TRY(co_await scope.join());
      json::Object answer;
      if (imported) {
        json::Array list;
        for (const image::ImportedImage& i : *imported) {
          json::Array references;
          for (const std::string& r : i.references) references.push_back(json::Value(r));
          list.push_back(json::Object{{"id", i.id}, {"references", std::move(references)}});
        }
        answer["images"] = std::move(list);
      } else {
        answer["error"] = imported.error().message();
      }
      co_return co_await exchange.write(line(answer));
    }
  } import{*this, progress, exchange, std::move(path), std::move(options)};
  CO_TRY(co_await async::run_scoped([&import](async::Scope& scope) { return import(scope); }));
  co_return co_await exchange.finish();
}

Task<Result<>> AdminHandler::list(http::Exchange& exchange) {
  json::Array list;
  for (const image::Image& image : images_->list()) list.push_back(describe_image(image));
  co_return co_await exchange.respond(200, json_headers(), line(json::Object{{"images", std::move(list)}}));
}

Task<Result<>> AdminHandler::remove(http::Exchange& exchange, std::string name) {
  CO_TRY_ASSIGN(bool removed, co_await images_->remove(name));
  co_return co_await exchange.respond(200, json_headers(), line(json::Object{{"removed", removed}}));
}

Task<Result<>> AdminHandler::status(http::Exchange& exchange) {
  CO_TRY_ASSIGN(json::Value status, co_await etcd::describe_store(operations_));
  co_return co_await exchange.respond(200, json_headers(), line(status));
}

}  // namespace monopod::cmd
