// Manifests: HEAD and GET, PUT, DELETE, each by tag or digest.
#include <algorithm>

#include "base/failpoint.h"
#include "base/strings.h"
#include "image/digest.h"
#include "registry/document.h"
#include "registry/limits.h"
#include "registry/service.h"

namespace monopod::registry {
namespace {

// Tags that a manifest pushed by its digest gets as well (distribution-spec, "Pushing Manifests": tag=, any number of times).
const Problem* take_tags(const http::Query& query, std::vector<std::string>& tags) {
  for (std::string_view tag : query.get_all("tag")) {
    if (!is_tag(tag)) return &kTagInvalid;
    if (std::ranges::find(tags, tag) == tags.end()) tags.emplace_back(tag);
  }
  return tags.size() > kTagsAtOnceMax ? &kTagsTooMany : nullptr;
}

}  // namespace

async::Task<Result<>> Service::manifest(Call& call) {
  const std::string& reference = call.route.reference;
  if (!image::is_blob_digest(reference) && !is_tag(reference))
    co_return co_await respond(call.exchange, reference.find(':') != std::string::npos ? kDigestInvalid : call.method() == "PUT" ? kTagInvalid : kManifestUnknown, reference.substr(0, 150));
  if (call.method() == "PUT") co_return co_await put_manifest(call);
  if (call.method() == "DELETE") co_return co_await delete_manifest(call);
  if (!call.reads()) co_return co_await respond(call.exchange, kUnsupported);
  const Repository* repository = catalog_.find(call.route.name);
  if (repository == nullptr) co_return co_await respond(call.exchange, kNameUnknown, call.route.name);
  std::string digest = reference;
  if (!image::is_blob_digest(reference)) {
    auto tag = repository->tags.find(reference);
    if (tag == repository->tags.end()) co_return co_await respond(call.exchange, kManifestUnknown, cat("unknown tag=", reference));
    digest = tag->second;
  }
  auto found = repository->manifests.find(digest);
  if (found == repository->manifests.end()) co_return co_await respond(call.exchange, kManifestUnknown, cat("unknown digest=", digest));
  co_return co_await send_manifest(call, std::move(digest), found->second);
}

async::Task<Result<>> Service::send_manifest(Call& call, std::string digest, const ManifestEntry& entry) {
  http::Headers headers{{"Content-Type", entry.media_type}, {"Docker-Content-Digest", digest}, {"ETag", cat("\"", digest, "\"")}};
  if (call.method() == "HEAD") {
    headers.set("Content-Length", std::to_string(entry.size));
    CO_TRY(co_await call.exchange.start(200, std::move(headers)));
    co_return co_await call.exchange.finish();
  }
  CO_TRY_ASSIGN(std::string text, co_await pool_.run([&] { return content_->read_blob(digest, options_.limits.manifest_bytes_max); }));
  co_return co_await call.exchange.respond(200, std::move(headers), std::move(text));
}

async::Task<Result<>> Service::put_manifest(Call& call) {
  const std::size_t bytes_max = options_.limits.manifest_bytes_max;
  std::string text;
  for (;;) {
    CO_TRY_ASSIGN(std::string chunk, co_await call.exchange.read_body_chunk());
    if (chunk.empty()) break;
    if (chunk.size() > bytes_max - text.size()) co_return co_await respond(call.exchange, kTooLarge, cat("a manifest has at most ", bytes_max, " bytes"));
    text += chunk;
  }
  std::string content_type(call.exchange.request().headers.find("content-type").value_or(""));
  const std::string& reference = call.route.reference;
  const bool by_digest = image::is_blob_digest(reference);
  std::vector<std::string> tags;
  if (!by_digest) tags.push_back(reference);
  else if (auto problem = take_tags(call.query, tags)) co_return co_await respond(call.exchange, *problem);
  std::string digest;
  Result<Document> document = co_await pool_.run([&] {
    digest = image::digest_of(text, by_digest ? reference : std::string_view());
    return parse_document(text, content_type);
  });
  if (by_digest && reference != digest) co_return co_await respond(call.exchange, kDigestInvalid, cat("the content's digest is ", digest));
  if (!document) co_return co_await respond(call.exchange, kManifestInvalid, document.error().message());
  ManifestEntry entry{.media_type = document->media_type, .size = text.size(), .subject = document->subject, .artifact_type = document->artifact_type};
  if (std::ranges::any_of(std::initializer_list<std::string_view>{entry.media_type, entry.artifact_type}, [](std::string_view s) { return s.size() > 255 || s.find('\n') != std::string_view::npos; }))
    co_return co_await respond(call.exchange, kManifestInvalid, "a media type is too long or holds a line break");

  CO_TRY(co_await unlocked());
  Lock lock(*this);
  for (const std::string& blob : document->blobs)
    if (catalog_.find_blob(call.route.name, blob) == nullptr) co_return co_await respond(call.exchange, kManifestBlobUnknown, blob);
  http::Headers headers{{"Location", cat("/v2/", call.route.name, "/manifests/", digest)}, {"Docker-Content-Digest", digest}};
  if (!entry.subject.empty()) headers.set("OCI-Subject", entry.subject);
  if (by_digest)
    for (const std::string& tag : tags) headers.add("OCI-Tag", tag);
  CO_TRY(co_await to_the_end(store_manifest(call.route.name, digest, std::move(text), std::move(entry), std::move(tags))));
  co_return co_await call.exchange.respond(201, std::move(headers), std::string());
}

async::Task<Result<>> Service::store_manifest(std::string repository, std::string digest, std::string text, ManifestEntry entry, std::vector<std::string> tags) {
  CO_TRY(failpoint("registry.before_publish"));
  CO_TRY(co_await pool_.run([&]() -> Result<> {
    TRY_ASSIGN(auto writer, image::BlobWriter::open(*content_));
    TRY(writer->write(as_bytes(text)));
    TRY(writer->finish(digest));
    TRY(writer->sync());
    return writer->publish();
  }));
  CO_TRY(failpoint("registry.before_record"));
  co_return co_await apply(catalog_.put_manifest(repository, digest, std::move(entry), tags));
}

// A tag goes alone; a digest takes its tags along.
async::Task<Result<>> Service::delete_manifest(Call& call) {
  const std::string &name = call.route.name, &reference = call.route.reference;
  CO_TRY(co_await unlocked());
  Lock lock(*this);
  if (catalog_.find(name) == nullptr) co_return co_await respond(call.exchange, kNameUnknown, name);
  const bool by_digest = image::is_blob_digest(reference);
  Changes changes = by_digest ? catalog_.remove_manifest(name, reference) : catalog_.remove_tag(name, reference);
  if (changes.empty()) co_return co_await respond(call.exchange, kManifestUnknown, reference);
  CO_TRY(co_await to_the_end(apply(std::move(changes))));
  if (by_digest) {
    CO_TRY(failpoint("registry.before_unlink"));
    CO_TRY(co_await to_the_end(remove_unheld({reference})));
  }
  co_return co_await call.exchange.respond(202, {}, std::string());
}

}  // namespace monopod::registry
