#include "image/push.h"

#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <set>

#include "async/scope.h"
#include "base/strings.h"
#include "codec/json.h"
#include "image/blob_reader.h"

namespace monopod::image {
namespace {

using async::Task;

constexpr std::size_t kChunkBytes = 256U << 10;

// Pieces of one blob, one after the other; from elsewhere when the registry has kept less of an upload, or more.
struct ChunkReader {
  const PushContext& context;
  BlobName name;
  std::unique_ptr<BlobReader> reader = nullptr;
  std::uint64_t at = 0;

  Task<Result<std::string>> operator()(std::uint64_t offset) {
    co_return co_await context.pool.run([this, offset] { return read(offset); });
  }

 private:
  Result<std::string> read(std::uint64_t offset) {
    if (reader == nullptr || offset < at) {
      TRY_ASSIGN(reader, BlobReader::open(context.content, name));
      at = 0;
    }
    TRY_ASSIGN(std::uint64_t skipped, reader->source().skip(offset - at));
    std::string bytes(kChunkBytes, '\0');
    TRY_ASSIGN(std::size_t n, reader->source().read(std::as_writable_bytes(std::span(bytes))));
    if (n == 0) return fail(Code::kDataLoss, "blob is shorter than its size");
    at += skipped + n;
    bytes.resize(n);
    return bytes;
  }
};

struct Push {
  const PushContext& context;
  const StoredImage& image;
  Reference reference;
  RegistryOptions options;
  std::string manifest, media_type;
  std::vector<Descriptor> blobs;
  std::map<std::string, BlobName> names;  // of layers, by digest
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
    TRY_ASSIGN(std::string config_text, context.content.read_blob(image.id, context.limits.document_bytes_max));
    TRY_ASSIGN(ImageConfig config, parse_image_config(config_text));
    for (BlobName& name : layer_names(*document, config)) names[name.digest] = name;
    std::set<std::string> seen;
    std::erase_if(blobs, [&seen](const Descriptor& blob) { return !seen.insert(blob.digest).second; });
    for (const Descriptor& blob : blobs) {
      TRY(BlobReader::open(context.content, name_of(blob)));  // it can be given out
      total += blob.size;
    }
    return {};
  }

  BlobName name_of(const Descriptor& blob) const {
    auto layer = names.find(blob.digest);
    return layer == names.end() ? BlobName{.digest = blob.digest, .diff_id = {}, .chain = {}} : layer->second;
  }

  Task<Result<>> send_blob(RegistryClient& registry, const Descriptor& blob) {
    CO_TRY_ASSIGN(bool there, co_await registry.has_blob(blob.digest));
    if (!there) {
      ChunkReader reader{.context = context, .name = name_of(blob)};
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

struct PushDocument {
  const PushContext& context;
  std::string document;
  Reference reference;
  RegistryOptions options;

  Task<Result<>> run(async::Scope& scope) {
    RegistryClient registry(scope, co_await async::this_executor(), context.time, reference, options);
    co_return co_await registry.put_manifest(reference.tag, std::string(kOciIndex), document);
  }
};

}  // namespace

Task<Result<>> push_index(const PushContext& context, std::string document, Reference reference, RegistryOptions options) {
  options.writes = true;
  PushDocument push{.context = context, .document = std::move(document), .reference = std::move(reference), .options = std::move(options)};
  co_return co_await async::run_scoped([&push](async::Scope& scope) { return push.run(scope); });
}

Task<Result<>> push_image(const PushContext& context, const StoredImage& image, Reference reference, RegistryOptions options) {
  options.writes = true;
  Push push{.context = context, .image = image, .reference = std::move(reference), .options = std::move(options)};
  CO_TRY(co_await context.pool.run([&push] { return push.read_documents(); }));
  co_return co_await async::run_scoped([&push](async::Scope& scope) { return push.run(scope); });
}

}  // namespace monopod::image
