#include "cmd/proxy/admin.h"

#include <boost/asio/post.hpp>

#include "async/event.h"
#include "base/metrics_text.h"
#include "base/strings.h"
#include "http/query.h"
#include "proxy/observe/explain.h"
#include "proxy/observe/merge.h"
#include "sys/process_metrics.h"

namespace monopod::cmd {
namespace {

struct Gathered {
  explicit Gathered(async::Executor executor) : done(executor) {}
  std::string text;
  async::Event done;
};

}  // namespace

async::Task<> ProxyAdmin::gather(void (*append)(proxy::Worker&, std::string&), std::string& out) {
  auto gathered = std::make_shared<Gathered>(executor_);
  proxy_.on_workers([gathered, append](proxy::Worker& worker) { append(worker, gathered->text); },
                    [gathered, executor = executor_] { async::asio::post(executor, [gathered] { gathered->done.set(); }); });
  [[maybe_unused]] Result<> waited = co_await gathered->done.wait();  // forever: a worker takes its turn within milliseconds
  out += gathered->text;
}

async::Task<std::string> ProxyAdmin::metrics() {
  std::string out;
  co_await gather([](proxy::Worker& worker, std::string& text) { worker.append_metrics(text); }, out);
  if (workers_ > 1) out = proxy::merge_metrics(out);
  metrics::append_one(out, "monopod_proxy_config_version", "gauge", "The snapshot in use, counted from 1.", static_cast<std::int64_t>(proxy_.snapshot()->version));
  metrics::append_one(out, "monopod_proxy_config_rejected_total", "counter", "Configurations that were refused.", config_.rejected());
  metrics::append_one(out, "monopod_proxy_config_last_good", "gauge", "Whether the one in use is the last good one, the present one being broken since the start.", config_.from_last_good() ? 1 : 0);
  out += sys::format_process_metrics();
  co_return out;
}

async::Task<Result<>> ProxyAdmin::handle(http::Exchange& exchange) {
  std::string path(exchange.request().raw_path());
  std::string body;
  if (exchange.request().method == "POST" && path == "/reload") {
    Result<> loaded = co_await reload_();
    if (!loaded) co_return co_await exchange.respond(400, {}, cat(loaded.error().message(), "\n"));
    co_return co_await exchange.respond(200, {}, cat("version ", proxy_.snapshot()->version, "\n"));
  }
  if (path == "/metrics") {
    body = co_await metrics();
  } else if (path == "/clusters") {
    co_await gather([](proxy::Worker& worker, std::string& out) { out += worker.describe_clusters(); }, body);
  } else if (path == "/explain") {
    http::Query query = http::parse_query(exchange.request().raw_query());
    std::vector<std::string> fields;
    for (std::string_view field : query.get_all("header")) fields.emplace_back(field);
    Result<std::string> text = proxy::explain(*proxy_.snapshot(), query.get("request").value_or(""), fields);
    if (!text) co_return co_await exchange.respond(400, {}, cat(text.error().message(), "\n"));
    body = cat(*text, "\n");
    co_await gather([](proxy::Worker& worker, std::string& out) { out += worker.describe_clusters(); }, body);
  } else if (path == "/ready") {
    const std::string& error = config_.last_error();
    body = config_.from_last_good() ? cat("ready, with the last good configuration: ", error, "\n") : error.empty() ? "ready\n" : cat("ready; a later configuration was refused: ", error, "\n");
  } else {
    co_return co_await exchange.respond(404, {}, std::string("there are GET /metrics, /clusters, /explain?request=GET+http://host/path&header=name:+value, /ready and POST /reload\n"));
  }
  co_return co_await exchange.respond(200, {{"content-type", path == "/metrics" ? std::string_view(metrics::kContentType) : "text/plain"}}, std::move(body));
}

}  // namespace monopod::cmd
