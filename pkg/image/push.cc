#include "image/push.h"

#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "async/scope.h"
#include "base/strings.h"
#include "codec/json.h"

namespace monopod::image {
namespace {

using async::Task;

constexpr std::size_t kChunkBytes = 256U << 10;

struct Push {
  const PushContext& context;
  const StoredImage& image;
  Reference reference;
  RegistryOptions options;
  std::string manifest, media_type;
  std::vector<Descriptor> blobs;
  std::uint64_t done = 0, total = 0;

  Result<> read_documents() {
    TRY_ASSIGN(manifest, context.content.read_blob(image.manifest_digest, context.limits.document_bytes_max));
    // The store took this document before, by whatever type it came with.
    TRY_ASSIGN(json::Value root, json::parse(manifest));
    media_type = std::string(json::get_string(root, {"mediaType"}, kOciManifest));
    TRY_ASSIGN(auto parsed, parse_manifest(manifest, media_type, context.limits));
    auto* document = std::get_if<Manifest>(&parsed);
    if (document == nullptr) return fail(Code::kDataLoss, cat("manifest ", image.manifest_digest, " is an index"));
    blobs = document->layers;
    blobs.push_back(document->config);
    std::set<std::string> seen;
    std::erase_if(blobs, [&seen](const Descriptor& blob) { return !seen.insert(blob.digest).second; });
    for (const Descriptor& blob : blobs) {
      if (!context.content.has_blob(blob.digest)) return fail(Code::kFailedPrecondition, cat("layer ", blob.digest, " is not kept as it came: the image was loaded without keeping blobs; pull or load it again with monopod image"));
      total += blob.size;
    }
    return {};
  }

  Task<Result<>> send_blob(RegistryClient& registry, const Descriptor& blob) {
    CO_TRY_ASSIGN(bool there, co_await registry.has_blob(blob.digest));
    if (!there) {
      CO_TRY_ASSIGN(sys::Fd file, co_await context.pool.run([&] { return context.content.open_blob(blob.digest); }));
      struct Reader {
        const PushContext& context;
        int fd;
        Task<Result<std::string>> operator()(std::uint64_t offset) const {
          co_return co_await context.pool.run([this, offset]() -> Result<std::string> {
            std::string bytes(kChunkBytes, '\0');
            ssize_t n = ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
            if (n < 0) return fail_errno("read blob");
            if (n == 0) return fail(Code::kDataLoss, "blob is shorter than its size");
            bytes.resize(static_cast<std::size_t>(n));
            return bytes;
          });
        }
      } reader{context, file.get()};
      RegistryClient::BlobToPush sending{.digest = blob.digest, .size = blob.size, .read = [&reader](std::uint64_t offset) { return reader(offset); }};
      if (context.progress) sending.progress = [this, &blob](std::uint64_t sent) { context.progress(done + sent, total, "pushing " + blob.digest); };
      CO_TRY(co_await registry.push_blob(sending));
    }
    done += blob.size;
    co_return Result<>{};
  }

  Task<Result<>> run(async::Scope& scope) {
    RegistryClient registry(scope, co_await async::this_executor(), context.time, reference, options);
    for (const Descriptor& blob : blobs) CO_TRY(co_await send_blob(registry, blob));
    co_return co_await registry.put_manifest(reference.tag.empty() ? image.manifest_digest : reference.tag, media_type, manifest);
  }
};

}  // namespace

Task<Result<>> push_image(const PushContext& context, const StoredImage& image, Reference reference, RegistryOptions options) {
  options.writes = true;
  Push push{.context = context, .image = image, .reference = std::move(reference), .options = std::move(options)};
  CO_TRY(co_await context.pool.run([&push] { return push.read_documents(); }));
  co_return co_await async::run_scoped([&push](async::Scope& scope) { return push.run(scope); });
}

}  // namespace monopod::image
