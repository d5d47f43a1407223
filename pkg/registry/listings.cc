// Listings: repositories, tags, referrers. Sorted by bytes, in pages that Link headers lead through (RFC 8288).
#include "base/strings.h"
#include "image/digest.h"
#include "image/manifest.h"
#include "registry/document.h"
#include "registry/service.h"

namespace monopod::registry {
namespace {

struct Page {
  std::size_t entries = 0;
  std::string last;
};

// n= and last=; nullopt for an n that is no number.
std::optional<Page> parse_page(const http::Query& query, const Limits& limits) {
  Page out{.entries = limits.page_entries_max, .last = std::string(query.get("last").value_or(""))};
  if (auto n = query.get("n")) {
    auto wanted = parse_int<std::uint64_t>(*n);
    if (!wanted) return std::nullopt;
    out.entries = std::min<std::uint64_t>(*wanted, out.entries);
  }
  return out;
}

// Names after page.last, and a Link to what follows them.
template <typename Names>
json::Array take_page(const Names& names, const Page& page, std::string_view path, http::Headers& headers) {
  json::Array out;
  auto at = page.last.empty() ? names.begin() : names.upper_bound(page.last);
  for (; at != names.end() && out.size() < page.entries; ++at) out.emplace_back(at->first);
  if (at != names.end() && !out.empty()) {
    std::string_view last = out.back().get_string();
    headers.set("Link", cat("<", path, "?n=", page.entries, "&last=", http::encode_query_component(last), ">; rel=\"next\""));
  }
  return out;
}

}  // namespace

async::Task<Result<>> Service::catalog(Call& call) {
  auto page = parse_page(call.query, options_.limits);
  if (!page) co_return co_await respond(call.exchange, kPageInvalid);
  http::Headers headers{{"Content-Type", "application/json"}};
  json::Object body;
  body["repositories"] = take_page(catalog_.repositories(), *page, "/v2/_catalog", headers);
  co_return co_await call.exchange.respond(200, std::move(headers), json::format(std::move(body)));
}

async::Task<Result<>> Service::tags(Call& call) {
  const Repository* repository = catalog_.find(call.route.name);
  if (repository == nullptr) co_return co_await respond(call.exchange, kNameUnknown, call.route.name);
  auto page = parse_page(call.query, options_.limits);
  if (!page) co_return co_await respond(call.exchange, kPageInvalid);
  http::Headers headers{{"Content-Type", "application/json"}};
  json::Object body;
  body["name"] = call.route.name;
  body["tags"] = take_page(repository->tags, *page, cat("/v2/", call.route.name, "/tags/list"), headers);
  co_return co_await call.exchange.respond(200, std::move(headers), json::format(std::move(body)));
}

// An index of what names the digest as its subject; of nothing where there is nothing, never 404.
async::Task<Result<>> Service::referrers(Call& call) {
  const std::string &name = call.route.name, &subject = call.route.reference;
  if (!image::is_blob_digest(subject)) co_return co_await respond(call.exchange, kDigestInvalid, "not a digest of sha256 or sha512");
  const std::string wanted(call.query.get("artifactType").value_or("")), after(call.query.get("last").value_or(""));
  std::vector<std::pair<std::string, ManifestEntry>> found;
  if (const Repository* repository = catalog_.find(name))
    for (const auto& [digest, entry] : repository->manifests)
      if (entry.subject == subject && digest > after && (wanted.empty() || entry.artifact_type == wanted)) found.emplace_back(digest, entry);
  http::Headers headers{{"Content-Type", image::kOciIndex}};
  if (!wanted.empty()) headers.set("OCI-Filters-Applied", "artifactType");
  std::string last;  // where the answer is cut
  CO_TRY_ASSIGN(json::Array manifests, co_await pool_.run([&]() -> Result<json::Array> {
    json::Array out;
    std::size_t bytes = 0;
    for (const auto& [digest, entry] : found) {
      if (bytes > options_.limits.page_bytes_max) {
        last = std::string(json::get_string(out.back(), {"digest"}));
        break;
      }
      TRY_ASSIGN(std::string text, content_->read_blob(digest, options_.limits.manifest_bytes_max));
      TRY_ASSIGN(Document document, parse_document(text, entry.media_type));
      json::Object descriptor;
      descriptor["mediaType"] = entry.media_type;
      descriptor["digest"] = digest;
      descriptor["size"] = entry.size;
      if (!entry.artifact_type.empty()) descriptor["artifactType"] = entry.artifact_type;
      if (!document.annotations.empty()) descriptor["annotations"] = std::move(document.annotations);
      bytes += json::format(descriptor).size();
      out.emplace_back(std::move(descriptor));
    }
    return out;
  }));
  if (!last.empty())
    headers.set("Link", cat("</v2/", name, "/referrers/", subject, "?last=", http::encode_query_component(last), wanted.empty() ? "" : cat("&artifactType=", http::encode_query_component(wanted)), ">; rel=\"next\""));
  json::Object index;
  index["schemaVersion"] = 2;
  index["mediaType"] = image::kOciIndex;
  index["manifests"] = std::move(manifests);
  co_return co_await call.exchange.respond(200, std::move(headers), json::format(std::move(index)));
}

}  // namespace monopod::registry
