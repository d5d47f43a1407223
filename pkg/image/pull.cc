#include "image/pull.h"

#include "async/scope.h"
#include "base/strings.h"
#include "image/chunk_pipe.h"
#include "image/digest.h"
#include "image/layer_unpacker.h"

namespace monopod::image {
namespace {

using async::Task;

constexpr std::size_t kPipeBytesMax = 1U << 20;

class Pull {
 public:
  Pull(const PullContext& context, Reference reference, RegistryOptions options)
      : context_(context), reference_(std::move(reference)), options_(std::move(options)) {}

  Task<Result<>> run(async::Scope& scope);
  StoredImage result;

 private:
  Task<Result<>> read_documents(RegistryClient& registry);
  Task<Result<>> fetch_layer(RegistryClient& registry, Descriptor blob);
  Task<Result<>> pump(RegistryClient& registry, std::shared_ptr<ChunkPipe> pipe, const Descriptor& blob);
  Task<Result<>> download(RegistryClient& registry, ChunkPipe& pipe, const Descriptor& blob);
  Task<Result<>> unpack(std::shared_ptr<ChunkPipe> pipe, const Descriptor& blob);

  const PullContext& context_;
  Reference reference_;
  RegistryOptions options_;
  Assembler::Documents documents_;
  std::vector<std::string> index_digests_;
  std::map<std::string, StagedLayer> staged_;  // by blob digest
  std::uint64_t done_ = 0, total_ = 0;
};

Task<Result<>> Pull::read_documents(RegistryClient& registry) {
  std::string wanted = reference_.digest.empty() ? reference_.tag : reference_.digest;
  std::string digest = reference_.digest, media_type;
  for (std::size_t depth = 0;; ++depth) {
    if (depth > context_.limits.index_depth_max) co_return fail(Code::kInvalidArgument, "index: nested too deep");
    CO_TRY_ASSIGN(RegistryClient::Document document, co_await registry.get_manifest(wanted, context_.limits.document_bytes_max));
    std::string own = digest_of(document.text);
    if (!digest.empty() && own != digest) co_return fail(Code::kDataLoss, cat("manifest ", digest, ": content does not match the digest"));
    CO_TRY_ASSIGN(auto parsed, parse_manifest(document.text, media_type.empty() ? document.media_type : media_type, context_.limits));
    if (auto* manifest = std::get_if<Manifest>(&parsed)) {
      documents_ = {.manifest_digest = own, .manifest_text = std::move(document.text), .manifest = std::move(*manifest), .config_text = {}};
      break;
    }
    index_digests_.push_back(own);
    auto best = choose_platform(std::get<Index>(parsed), context_.platform);
    if (!best) co_return fail(Code::kNotFound, cat("no image for ", context_.platform.os, "/", context_.platform.architecture));
    wanted = digest = best->digest;
    media_type = best->media_type;
  }
  CO_TRY_ASSIGN(http::Response response, co_await registry.open_blob(documents_.manifest.config.digest));
  CO_TRY_ASSIGN(documents_.config_text, co_await response.body->read_all(context_.limits.document_bytes_max));
  if (digest_of(documents_.config_text) != documents_.manifest.config.digest) co_return fail(Code::kDataLoss, "configuration: content does not match the digest");
  co_return Result<>{};
}

// From where an answer broke off, as long as each brings something.
Task<Result<>> Pull::download(RegistryClient& registry, ChunkPipe& pipe, const Descriptor& blob) {
  std::uint64_t bytes = 0;
  for (;;) {
    const std::uint64_t start = bytes;
    auto opened = co_await registry.open_blob(blob.digest, start);
    if (!opened) co_return fail(std::move(opened).error());
    std::uint64_t skip = opened->status == 206 ? 0 : start;  // this one sends all of it again
    std::optional<Error> broken;
    for (;;) {
      auto chunk = co_await registry.read_chunk(*opened->body);
      if (!chunk) {
        broken = std::move(chunk).error().with("download");
        break;
      }
      if (*chunk == nullptr) break;
      SharedBytes fresh = *std::move(chunk);
      if (skip >= fresh->size()) {
        skip -= fresh->size();
        continue;
      }
      if (skip > 0) fresh = share(fresh->substr(std::exchange(skip, 0)));
      bytes += fresh->size();
      if (bytes > blob.size) co_return fail(Code::kDataLoss, cat("download: more than the ", blob.size, " bytes of the manifest"));
      done_ += fresh->size();
      if (context_.progress) context_.progress(done_, total_, "pulling " + blob.digest);
      auto pushed = co_await pipe.push(std::move(fresh));
      if (!pushed) co_return Result<>{};  // the reader failed and reports why
    }
    if (!broken && bytes == blob.size) co_return Result<>{};
    if (!broken) broken = Error(Code::kDataLoss, cat("download: ", bytes, " bytes, the manifest says ", blob.size));
    if (bytes == start || broken->code() == Code::kCancelled) co_return fail(*std::move(broken));
  }
}

Task<Result<>> Pull::pump(RegistryClient& registry, std::shared_ptr<ChunkPipe> pipe, const Descriptor& blob) {
  // However this ends, the reader's thread does not wait for ever.
  struct Closer {
    ChunkPipe& pipe;
    Result<> outcome = fail(Code::kCancelled, "download: cancelled");
    ~Closer() { pipe.close(std::move(outcome)); }
  } closer{*pipe};
  closer.outcome = co_await download(registry, *pipe, blob);
  co_return Result<>{};  // the reader reports it
}

Task<Result<>> Pull::unpack(std::shared_ptr<ChunkPipe> pipe, const Descriptor& blob) {
  auto staged = co_await context_.pool.run([&]() -> Result<StagedLayer> {
    ChunkPipeSource source(pipe);
    return stage_layer(context_.content, source, context_.limits, context_.stop);
  });
  if (!staged) co_return fail(std::move(staged).error().with(cat("layer ", blob.digest)));
  staged_.insert_or_assign(blob.digest, *std::move(staged));
  co_return Result<>{};
}

Task<Result<>> Pull::fetch_layer(RegistryClient& registry, Descriptor blob) {
  auto pipe = std::make_shared<ChunkPipe>(co_await async::this_executor(), kPipeBytesMax);
  async::Scope both(co_await async::this_executor());
  both.spawn(unpack(pipe, blob));
  both.spawn(pump(registry, pipe, blob));
  co_return co_await both.join();
}

Task<Result<>> Pull::run(async::Scope& scope) {
  RegistryClient registry(scope, co_await async::this_executor(), context_.time, reference_, options_);
  CO_TRY(co_await read_documents(registry));
  CO_TRY_ASSIGN(ImageConfig config, parse_image_config(documents_.config_text));
  if (config.diff_ids.size() != documents_.manifest.layers.size()) co_return fail(Code::kInvalidArgument, "manifest and configuration have different numbers of layers");
  std::vector<Descriptor> missing;
  std::string chain;
  for (std::size_t i = 0; i < config.diff_ids.size(); ++i) {
    if (!is_digest(config.diff_ids[i])) co_return fail(Code::kInvalidArgument, "configuration: a diff id is not a sha256 digest");
    chain = chain_id(chain, config.diff_ids[i]);
    const Descriptor& blob = documents_.manifest.layers[i];
    if (context_.content.find_layer(config.diff_ids[i], chain, blob.digest)) continue;
    if (std::ranges::find(missing, blob.digest, &Descriptor::digest) != missing.end()) continue;
    total_ += blob.size;
    missing.push_back(blob);
  }
  // One after the other: one connection, one unpacking thread; a small node is bound by its disk.
  for (const Descriptor& blob : missing) CO_TRY(co_await fetch_layer(registry, blob));
  CO_TRY_ASSIGN(result, co_await context_.pool.run([&]() -> Result<StoredImage> {
    Assembler assembler(context_.content, context_.limits);
    TRY_ASSIGN(StoredImage image, assembler.add(documents_, [this](const Descriptor& blob) -> Result<StagedLayer> {
      auto found = staged_.find(blob.digest);
      if (found == staged_.end() || !found->second.directory) return fail(Code::kNotFound, cat("layer ", blob.digest, " was not pulled"));
      return std::move(found->second);
    }));
    TRY(assembler.publish());
    return image;
  }));
  result.index_digests = index_digests_;
  result.repo_digests = {cat(reference_.repository(), "@", index_digests_.empty() ? result.manifest_digest : index_digests_.front())};
  if (!reference_.tag.empty()) {
    Reference name = reference_;
    name.digest.clear();
    result.references.push_back(name.text());
  }
  co_return Result<>{};
}

}  // namespace

Task<Result<StoredImage>> pull_image(const PullContext& context, Reference reference, RegistryOptions options) {
  Pull pull(context, std::move(reference), std::move(options));
  Pull* job = &pull;
  CO_TRY(co_await async::run_scoped([job](async::Scope& scope) { return job->run(scope); }));
  co_return std::move(pull.result);
}

}  // namespace monopod::image
