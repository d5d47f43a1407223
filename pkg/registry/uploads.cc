// Uploads: POST (monolithic, mount, or the start of a session), PATCH, PUT, GET and DELETE of a session.
//
//   POST -> 202 Location -> PATCH* (Content-Range continues where it is, 416 else) -> PUT ?digest= -> 201
// A session whose request broke off keeps what arrived: GET says how much, and the client goes on from there.
#include "base/failpoint.h"
#include "base/strings.h"
#include "image/digest.h"
#include "registry/service.h"

namespace monopod::registry {
namespace {

std::string upload_location(const Upload& upload) { return cat("/v2/", upload.repository, "/blobs/uploads/", upload.id); }

// Range: the bytes that are here, inclusive; "0-0" of none, as others say it.
http::Headers progress_headers(const Upload& upload) {
  std::uint64_t bytes = upload.writer->bytes();
  return {{"Location", upload_location(upload)}, {"Range", cat("0-", bytes == 0 ? 0 : bytes - 1)}, {"Docker-Upload-UUID", upload.id}};
}

class Busy {
 public:
  explicit Busy(std::shared_ptr<Upload> upload, async::Time& time) : upload_(std::move(upload)), time_(time) { upload_->busy = true; }
  ~Busy() {
    upload_->busy = false;
    upload_->last_used = time_.mono();
  }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  std::shared_ptr<Upload> upload_;
  async::Time& time_;
};

}  // namespace

void Service::drop_idle_uploads() {
  const MonoTime now = time_.mono();
  std::erase_if(uploads_, [&](const auto& item) { return !item.second->busy && now - item.second->last_used >= options_.limits.upload_idle_max; });
}

async::Task<Result<>> Service::begin_upload(Call& call) {
  const std::string& repository = call.route.name;
  if (auto mount = call.query.get("mount"); mount && image::is_blob_digest(*mount)) {
    std::string digest(*mount);
    const std::string from(call.query.get("from").value_or(""));
    CO_TRY(co_await unlocked());
    Lock lock(*this);
    const std::uint64_t* size = from.empty() ? nullptr : catalog_.find_blob(from, digest);
    if (from.empty())
      for (const auto& [name, other] : catalog_.repositories())
        if (auto found = other.blobs.find(digest); size == nullptr && found != other.blobs.end()) size = &found->second;
    if (size != nullptr) {
      touch(repository, digest);
      CO_TRY(co_await to_the_end(apply(catalog_.add_blob(repository, digest, *size))));
      co_return co_await call.exchange.respond(201, {{"Location", blob_location(repository, digest)}, {"Docker-Content-Digest", digest}}, std::string());
    }
  }
  auto digest = call.query.get("digest");
  if (digest && !image::is_blob_digest(*digest)) co_return co_await respond(call.exchange, kDigestInvalid, "digest: not of sha256 or sha512");
  drop_idle_uploads();
  if (uploads_.size() >= options_.limits.uploads_max) co_return co_await respond(call.exchange, kTooMany, {}, {{"Retry-After", "60"}});
  CO_TRY_ASSIGN(auto writer, co_await pool_.run([&] { return image::BlobWriter::open(*content_); }));
  auto upload = std::make_shared<Upload>();
  upload->id = rng_.uuid();
  upload->repository = repository;
  upload->writer = std::move(writer);
  upload->last_used = time_.mono();
  uploads_.emplace(upload->id, upload);
  if (digest) co_return co_await finish_upload(call, upload, std::string(*digest));
  co_return co_await call.exchange.respond(202, progress_headers(*upload), std::string());
}

async::Task<Result<>> Service::upload(Call& call) {
  auto found = uploads_.find(call.route.reference);
  if (found == uploads_.end() || found->second->repository != call.route.name) co_return co_await respond(call.exchange, kUploadUnknown, call.route.reference.substr(0, 100));
  std::shared_ptr<Upload> upload = found->second;
  if (call.reads()) co_return co_await call.exchange.respond(204, progress_headers(*upload), std::string());
  if (upload->busy) co_return co_await respond(call.exchange, kUploadBusy);
  if (call.method() == "DELETE") {
    uploads_.erase(found);
    co_return co_await call.exchange.respond(204, {}, std::string());
  }
  if (call.method() == "PATCH") co_return co_await append(call, upload);
  if (call.method() != "PUT") co_return co_await respond(call.exchange, kUnsupported);
  auto digest = call.query.get("digest");
  if (!digest || !image::is_blob_digest(*digest)) co_return co_await respond(call.exchange, kDigestInvalid, "digest: missing, or not of sha256 or sha512");
  co_return co_await finish_upload(call, upload, std::string(*digest));
}

// The request's body goes behind what is there. What does not fit its Content-Range is refused before a byte is read. An answer was sent where
// the exchange has started.
async::Task<Result<>> Service::append(Call& call, std::shared_ptr<Upload> upload) {
  Busy busy(upload, time_);
  const http::Headers& headers = call.exchange.request().headers;
  const std::uint64_t before = upload->writer->bytes();
  std::optional<std::uint64_t> expected;
  if (auto length = headers.find("content-length")) expected = parse_int<std::uint64_t>(*length);
  if (auto text = headers.find("content-range"); text && (!expected || *expected > 0)) {
    auto range = parse_content_range(*text);
    if (!range) co_return co_await respond(call.exchange, kUploadInvalid, cat("Content-Range \"", text->substr(0, 100), "\" is not first-last"));
    if (range->first != before) co_return co_await respond(call.exchange, kUploadRange, cat("the upload is at ", before), progress_headers(*upload));
    std::uint64_t bytes = range->last - range->first + 1;
    if (expected && *expected != bytes) co_return co_await respond(call.exchange, kSizeInvalid, cat("Content-Length ", *expected, " is not Content-Range's ", bytes));
    expected = bytes;
  }
  const std::uint64_t room = options_.limits.blob_bytes_max - std::min(options_.limits.blob_bytes_max, before);
  if (expected && *expected > room) co_return co_await respond(call.exchange, kTooLarge, cat("at most ", options_.limits.blob_bytes_max, " bytes"));
  bool too_large = false;
  CO_TRY(co_await receive(call, *upload, expected.value_or(room), too_large));
  if (too_large || (expected && upload->writer->bytes() - before != *expected)) {
    uploads_.erase(upload->id);  // it holds bytes that nobody meant
    co_return co_await respond(call.exchange, expected ? kSizeInvalid : kTooLarge);
  }
  if (call.method() == "PATCH") co_return co_await call.exchange.respond(202, progress_headers(*upload), std::string());
  co_return Result<>{};
}

async::Task<Result<>> Service::receive(Call& call, Upload& upload, std::uint64_t bytes_max, bool& too_large) {
  std::string buffer;
  std::uint64_t taken = 0;
  for (bool end = false; !end;) {
    Result<std::string> chunk = co_await call.exchange.read_body_chunk();
    end = !chunk || chunk->empty();
    if (chunk) {
      taken += chunk->size();
      if (taken > bytes_max) {
        too_large = true;
        co_return Result<>{};
      }
      if (buffer.empty()) buffer = *std::move(chunk);
      else buffer += *chunk;
    }
    if ((end || buffer.size() >= kChunkBytes) && !buffer.empty()) {
      CO_TRY(co_await pool_.run([&] { return upload.writer->write(as_bytes(buffer)); }));
      buffer.clear();
    }
    if (!chunk) co_return fail(std::move(chunk).error());
  }
  co_return Result<>{};
}

async::Task<Result<>> Service::finish_upload(Call& call, std::shared_ptr<Upload> upload, std::string digest) {
  CO_TRY(co_await append(call, upload));
  if (call.exchange.started()) co_return Result<>{};  // refused
  Busy busy(upload, time_);
  Result<std::string> own = co_await pool_.run([&] { return upload->writer->finish(digest); });
  uploads_.erase(upload->id);  // its hash is closed: nothing can go on from here
  if (!own) co_return fail(std::move(own).error());
  if (*own != digest) co_return co_await respond(call.exchange, kDigestInvalid, cat("the content's digest is ", *own));
  CO_TRY(co_await pool_.run([&] { return upload->writer->sync(); }));
  CO_TRY(co_await unlocked());
  {
    Lock lock(*this);
    CO_TRY(co_await to_the_end(commit_upload(*upload, digest)));
  }
  co_return co_await call.exchange.respond(201, {{"Location", blob_location(upload->repository, digest)}, {"Docker-Content-Digest", digest}}, std::string());
}

// The content, then the record: what a record names is there.
async::Task<Result<>> Service::commit_upload(Upload& upload, std::string digest) {
  CO_TRY(failpoint("registry.before_publish"));
  CO_TRY(co_await pool_.run([&] { return upload.writer->publish(); }));
  CO_TRY(failpoint("registry.before_record"));
  touch(upload.repository, digest);
  co_return co_await apply(catalog_.add_blob(upload.repository, digest, upload.writer->bytes()));
}

}  // namespace monopod::registry
