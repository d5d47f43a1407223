// The node's images: imported from archives (or pulled), verified, unpacked once, mounted per container.
//
// Layout below <data-dir>/content, all directories 0700:
//   blobs/sha256/<hex>   manifests and configurations (layers live unpacked only)
//   layers/<key>/fs      one unpacked layer (key: content.h) as an overlayfs lower directory, published by rename after one syncfs;
//                        or erofs, an image of it (erofs_writer.h)
//   snapshots/<id>/      fs (upper) and work of a container
//   staging/             unfinished work; emptied at open
//   lock                 flock of the process that owns the directory
// References, images and snapshots are remembered in the StateStore, bucket "image". What a record names is on disk before
// the record is; what no record names is garbage.
//
// All methods run on one loop; disk work goes to the pool. The store outlives every task that uses it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "async/pool.h"
#include "async/state_store.h"
#include "async/time.h"
#include "image/config.h"
#include "image/layer_mount.h"
#include "image/limits.h"
#include "image/snapshot.h"

namespace monopod::http {
class Resolver;
class TlsClient;
}  // namespace monopod::http

namespace monopod::image {

// A name that is of several platforms' images.
struct NamedIndex {
  std::string reference;
  std::string digest;               // of the index
  std::vector<std::string> images;  // ids, in its order
};

struct Image {
  std::string id;               // "sha256:<hex>" of the configuration, as docker and CRI show it
  std::string manifest_digest;  // "sha256:<hex>"
  std::vector<std::string> references;    // "docker.io/library/busybox:latest", sorted
  std::vector<std::string> repo_digests;  // "docker.io/library/busybox@sha256:...", sorted
  std::vector<NamedIndex> indexes;        // of its references: those that are of other platforms' images too
  std::vector<std::string> platform_of;   // references of indexes that it belongs to, and that are another image's
  ImageConfig config;
  std::uint64_t size_bytes = 0;           // of the unpacked layers, shared ones counted fully
  std::vector<std::string> layers;        // keys (content.h), base first
  std::vector<std::string> blobs;         // digests of the layers as they came, base first
  WallTime imported{};
  WallTime last_used{};                   // last prepare_snapshot, or imported
};

struct ImportProgress {
  std::uint64_t bytes_done = 0;   // of the archive or download
  std::uint64_t bytes_total = 0;  // 0: not known
  std::string step;               // "reading", "unpacking sha256:...", "syncing"
};
using ProgressCallback = std::function<void(const ImportProgress&)>;  // called on the loop, a few times a second

struct ImportOptions {
  std::string reference;      // names an archive's only image that brings no name; empty: leave it unnamed
  ProgressCallback progress;  // may be empty
  bool all_platforms = false; // of an index every image that the archive holds, under one name; else this machine's
};

struct ImportedImage {
  std::string id;
  std::vector<std::string> references;  // empty for an unnamed image
};

struct PullOptions {
  std::string username, password;  // for the registry, and the token server it names
  std::string token;               // a bearer token as it is
  bool plain_http = false;         // the registry itself speaks http although it is not on loopback
  Duration stall_timeout = std::chrono::seconds(60);
  Platform platform = host_platform();
  ProgressCallback progress;
};

struct SaveOptions {
  bool bundle = false;
};

struct PushOptions {
  std::string username, password, token;  // as for a pull
  bool plain_http = false;
  Duration stall_timeout = std::chrono::seconds(60);
  ProgressCallback progress;
};

// A layer of an image that is here.
struct LayerOf {
  std::string image_id;
  std::string diff_id;
};

// A new image over one that is here (a build's step).
struct CommitOptions {
  std::string base_id;                     // empty: from nothing
  std::vector<LayerOf> layers = {};        // put over the base as they are, lowest first; the changes come above them
  std::string changes;                     // host path of a directory (layer_pack.h) that becomes the topmost layer; empty: none
  std::string config;                      // the configuration as JSON; its rootfs is made here
  std::vector<std::string> references;     // canonical
  std::optional<std::int64_t> mtime_max_seconds;
  std::set<std::string> undescribed = {};  // directories of the changes that the layer only passes through: they stay as the layers below have them
};

struct GcPolicy {
  std::uint64_t bytes_max = 0;             // images are removed, least recently used first, until they fit
  Duration unused_min = std::chrono::minutes(2);  // younger or more recently used images are kept
  std::set<std::string> keep;              // references or ids never removed
  bool unnamed_only = false;               // those that have a reference, or were pulled by digest, are kept
  std::optional<Duration> unused_max = {};  // what nobody used for longer goes though it fits
};
struct GcResult {
  std::vector<std::string> images_removed;  // ids
  std::uint64_t bytes_freed = 0;
};

struct Usage {
  std::uint64_t layer_bytes = 0;
  std::uint64_t blob_bytes = 0;
  std::size_t images = 0, layers = 0, snapshots = 0;
};

class ImageStore {
 public:
  struct Options {
    std::string data_dir;           // <data-dir>; content/ and images/ are below it
    bool import_drop_ins = true;    // <data-dir>/images/*.tar[.gz|.zst] at open, each file once
    bool keep_blobs = false;        // layers are kept as they came too, for push and save (content.h)
    LayerForm form = LayerForm::kDirectory;  // of layers that come from now on
    Limits limits;
    // Pulling. tls: null means that https registries cannot be reached; resolver: null means IP literals and localhost only. Both
    // outlive the store. hosts_dir: mirrors and trust by registry (hosts.h); empty: none.
    http::TlsClient* tls = nullptr;
    http::Resolver* resolver = nullptr;
    std::string hosts_dir = {};
  };

  // Recovers: validates every record, drops what is not whole (logged), empties staging, removes what nothing names.
  // pool, time and state outlive the store. kFailedPrecondition where another process holds the directory or its
  // mode or owner is unsafe.
  static async::Task<Result<std::unique_ptr<ImageStore>>> open(Options options, async::Pool& pool, async::Time& time,
                                                               async::StateStore& state);
  virtual ~ImageStore() = default;

  // An OCI layout tar, or a docker-archive; plain, gzip or zstd. From a path (absolute), or an fd that stays the caller's
  // (a pipe is read once, front to end). Errors: kInvalidArgument what the archive says is wrong, kDataLoss a digest that
  // does not match, kResourceExhausted a cap or a full disk. Nothing is visible of an import that failed.
  virtual async::Task<Result<std::vector<ImportedImage>>> import_file(std::string path, ImportOptions options) = 0;
  virtual async::Task<Result<std::vector<ImportedImage>>> import_fd(int fd, ImportOptions options) = 0;
  // From the reference's registry or its mirrors; layers are unpacked as they arrive. kNotFound, kUnauthenticated, kUnavailable
  // as the registry said; else as import. Text: "pull docker.io/library/x:1: manifest: status 404 not found".
  virtual async::Task<Result<ImportedImage>> pull(std::string reference, PullOptions options) = 0;
  // Files of <data-dir>/images that were not imported yet (by name, size and mtime). Bad files are logged and skipped.
  virtual async::Task<Result<std::size_t>> import_drop_ins() = 0;

  // By reference ("busybox", "docker.io/library/busybox:latest", "busybox@sha256:..."), id, or a unique id prefix of at
  // least 6 hex digits.
  virtual std::optional<Image> find(std::string_view name) const = 0;
  // The same where a name, or an index's digest, is of several platforms' images; else that one image, if it is for the platform.
  virtual std::optional<Image> find_for(std::string_view name, const Platform& platform) const = 0;
  virtual std::vector<Image> list() const = 0;  // sorted by id
  // One index of images for different platforms, under these references, which by themselves name this machine's image or the first: its digest. kInvalidArgument for two of one
  // platform. An image that a name's index holds stays as long as the name does.
  virtual async::Task<Result<std::string>> group(std::vector<std::string> ids, std::vector<std::string> references) = 0;
  virtual async::Task<Result<>> tag(std::string name, std::string reference) = 0;
  // A reference is taken off its image; the image goes with its last reference. An id takes all. kFailedPrecondition
  // while a snapshot uses the image (a reference goes even then, unless it is the last). Returns true if the image went.
  virtual async::Task<Result<bool>> remove(std::string name) = 0;

  // Idempotent for the same container and image. Durable before it returns. id: [A-Za-z0-9][A-Za-z0-9_.-]*, 128 at most.
  virtual async::Task<Result<Snapshot>> prepare_snapshot(std::string container_id, std::string image_id) = 0;
  virtual std::optional<Snapshot> find_snapshot(std::string_view container_id) const = 0;
  virtual std::vector<std::string> list_snapshots() const = 0;
  // mount_snapshot on the pool; with maps, mount_mapped_snapshot.
  virtual async::Task<Result<>> mount(std::string container_id, std::string target, sys::IdMaps maps = {}) = 0;
  virtual async::Task<Result<>> unmount(std::string target) = 0;
  // Unmounted by now. Absent is no error.
  virtual async::Task<Result<>> remove_snapshot(std::string container_id) = 0;
  virtual async::Task<Result<std::uint64_t>> snapshot_bytes(std::string container_id) = 0;  // of its writable layer

  virtual async::Task<Result<Usage>> usage() = 0;
  // Somebody is about to use it: a collection that runs passes it over.
  virtual void mark_used(std::string_view name) = 0;
  // Never removes an image that a snapshot, policy.keep or a running import uses.
  virtual async::Task<Result<GcResult>> gc(GcPolicy policy) = 0;
  // The raw manifest or configuration, for inspect.
  virtual async::Task<Result<std::string>> read_blob(std::string digest) = 0;
  // Packs the changes, and adds the image as a pull would. The base must stay until it is done.
  virtual async::Task<Result<ImportedImage>> commit(CommitOptions options) = 0;
  // To a registry, under reference, which the image need not bear; a name that is an index: with all its images. What is there already, or in another of its repositories that an image
  // here has a name in, is not sent. kFailedPrecondition where a layer's blob is not kept.
  virtual async::Task<Result<>> push(std::string name, std::string reference, PushOptions options) = 0;
  // Whether a registry takes these credentials: kUnauthenticated where it does not.
  virtual async::Task<Result<>> check_login(std::string domain, std::string username, std::string password) = 0;
  // An OCI layout tar with these images, readable for docker load too, to an fd that stays the caller's. What they share is written once.
  // bundle: archive_writer.h's.
  virtual async::Task<Result<>> save(std::vector<std::string> names, int fd, SaveOptions options = {}) = 0;
};

}  // namespace monopod::image
