// Blobs: HEAD, GET with Range, DELETE.
#include <unistd.h>

#include "base/failpoint.h"
#include "base/strings.h"
#include "image/digest.h"
#include "registry/service.h"

namespace monopod::registry {

async::Task<Result<>> Service::blob(Call& call) {
  const std::string &repository = call.route.name, &digest = call.route.reference;
  if (!image::is_blob_digest(digest)) co_return co_await respond(call.exchange, kDigestInvalid, cat("\"", digest.substr(0, 150), "\" is not a digest of sha256 or sha512"));
  if (call.reads()) {
    const std::uint64_t* size = catalog_.find_blob(repository, digest);
    if (size == nullptr) co_return co_await respond(call.exchange, kBlobUnknown, digest);
    touch(repository, digest);
    co_return co_await send_blob(call, *size);
  }
  if (call.method() != "DELETE") co_return co_await respond(call.exchange, kUnsupported);
  CO_TRY(co_await unlocked());
  Lock lock(*this);
  bool found = false;
  CO_TRY(co_await to_the_end(delete_blob(repository, digest, found)));
  if (!found) co_return co_await respond(call.exchange, kBlobUnknown, digest);
  co_return co_await call.exchange.respond(202, {{"Docker-Content-Digest", digest}}, std::string());
}

async::Task<Result<>> Service::delete_blob(std::string repository, std::string digest, bool& found) {
  found = catalog_.find_blob(repository, digest) != nullptr;
  CO_TRY(co_await apply(catalog_.remove_blob(repository, digest)));
  CO_TRY(failpoint("registry.before_unlink"));
  co_return co_await remove_unheld({digest});
}

async::Task<Result<>> Service::send_blob(Call& call, std::uint64_t size) {
  const std::string& digest = call.route.reference;
  http::Headers headers{{"Content-Type", "application/octet-stream"}, {"Docker-Content-Digest", digest}, {"Accept-Ranges", "bytes"}, {"ETag", cat("\"", digest, "\"")}};
  RangeAnswer part;
  if (auto range = call.exchange.request().headers.find("range"); range && call.method() == "GET") part = parse_range(*range, size);
  if (part.kind == RangeAnswer::Kind::kUnsatisfiable) co_return co_await respond(call.exchange, kRangeInvalid, {}, {{"Content-Range", cat("bytes */", size)}});
  std::uint64_t at = 0, end = size;
  if (part.kind == RangeAnswer::Kind::kPart) {
    at = part.range.first;
    end = part.range.last + 1;
    headers.set("Content-Range", cat("bytes ", part.range.first, "-", part.range.last, "/", size));
  }
  // An empty body still says its length.
  headers.set("Content-Length", std::to_string(end - at));
  sys::Fd file;
  if (call.method() == "GET") {
    CO_TRY_ASSIGN(file, co_await pool_.run([&] { return content_->open_blob(digest); }));
  }
  CO_TRY(co_await call.exchange.start(part.kind == RangeAnswer::Kind::kPart ? 206 : 200, std::move(headers)));
  while (file && at < end) {
    CO_TRY_ASSIGN(std::string chunk, co_await pool_.run([&]() -> Result<std::string> {
      std::string bytes(std::min<std::uint64_t>(kChunkBytes, end - at), '\0');
      ssize_t n = ::pread(file.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
      if (n < 0) return fail_errno(cat("read blob ", digest));
      if (n == 0) return fail(Code::kDataLoss, cat("blob ", digest, " ends before its size"));
      bytes.resize(static_cast<std::size_t>(n));
      return bytes;
    }));
    at += chunk.size();
    CO_TRY(co_await call.exchange.write(share(std::move(chunk))));
  }
  co_return co_await call.exchange.finish();
}

}  // namespace monopod::registry
