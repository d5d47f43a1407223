// The directory <data-dir>/content: blobs, layers, snapshots, staging (layout in store.h). Blocking; methods may run on several
// pool threads at once. Something is published by rename, after it is on disk.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/layer_mount.h"
#include "sys/fd.h"
#include "sys/root.h"

namespace monopod::image {

// What layers/<hex>/meta remembers.
struct LayerMeta {
  std::string key;      // "sha256:...": the diff id, or the chain id where the layer took attributes from those below it
  std::string diff_id;
  std::string digest;   // of the blob as it came, compressed or not
  std::uint64_t blob_bytes = 0;
  std::uint64_t bytes = 0;       // of its files
  std::uint64_t disk_bytes = 0;  // what an image takes; of a directory, bytes. Not kept: looked at
  std::uint64_t entries = 0;
  bool has_root = false;
  bool implicit = false;    // has directories that it did not describe: bound to its place in the chain
};

// A directory below staging/, removed with its owner unless published.
class Staged {
 public:
  Staged(const sys::Root& content, std::string path) : content_(content), path_(std::move(path)) {}
  ~Staged();
  Staged(const Staged&) = delete;
  Staged& operator=(const Staged&) = delete;
  const std::string& path() const { return path_; }  // relative to content/
  void release() { path_.clear(); }

 private:
  const sys::Root& content_;
  std::string path_;
};

class ErofsLayer;

struct StagedLayer {
  LayerMeta meta;
  std::vector<std::string> implicit_directories;
  std::unique_ptr<Staged> directory;  // holds fs/ or erofs
  std::shared_ptr<ErofsLayer> image;  // of an image that is not finished: its implicit directories wait for the layers below
  bool has_record = false;            // and record, with kept/ where there is need (layer_record.h)
  bool has_blob = false;              // and blob, the bytes as they came, where they are compressed
  std::uint64_t tar_bytes = 0;        // of the plain tar
};

struct Blob {
  std::string digest;
  std::string bytes;
};

class Content {
 public:
  // Makes what is missing, takes the lock, empties staging. keep_blobs: a layer can be given out as it came too, so that its image can be
  // pushed and saved: its record is kept (layer_record.h), and if it came compressed its blob, which no program makes again bit for bit.
  // form: of layers that come; kFailedPrecondition where the kernel cannot use them.
  static Result<std::unique_ptr<Content>> open(const std::string& directory, bool keep_blobs = false, LayerForm form = LayerForm::kDirectory);
  bool keeps_blobs() const { return keep_blobs_; }
  LayerForm form() const { return form_; }

  const sys::Root& root() const { return root_; }
  std::string layer_path(std::string_view key) const;  // absolute, of its fs, for open_layer() and mounts
  std::string image_path(std::string_view key) const;  // absolute, of the image that it may be instead or as well
  std::string snapshot_path(std::string_view id) const;  // absolute

  // The layer of this diff id at this place of a chain, if it is published and whole and, with keep_blobs, its blob can be given out.
  std::optional<LayerMeta> find_layer(std::string_view diff_id, std::string_view chain, std::string_view blob) const;
  // The same, if its tar can be put together again.
  std::optional<LayerMeta> find_recorded(std::string_view diff_id, std::string_view chain) const;
  // The key's layer if it is published and whole.
  std::optional<LayerMeta> find_layer(std::string_view key) const;
  // Verified against its digest: kDataLoss if it does not match, kNotFound.
  Result<std::string> read_blob(std::string_view digest, std::size_t bytes_max) const;
  bool has_blob(std::string_view digest) const;

  Result<std::unique_ptr<Staged>> make_staging() const;
  // Makes layers and blobs durable and visible, layers first; those that exist already are dropped. One syncfs, a rename each, one
  // more syncfs. On error some may be visible: whole, named by nothing.
  Result<> publish(std::vector<StagedLayer>& layers, const std::vector<Blob>& blobs) const;
  // One staged file, durable already, gets its name among the blobs, durably. One that is there already stays.
  Result<> publish_blob(const std::string& staged, std::string_view digest) const;
  // For reading in pieces; kNotFound. Not verified: it was when it was published.
  Result<sys::Fd> open_blob(std::string_view digest) const;

  // Moved to staging in one rename, then deleted. Absent is no error.
  Result<> remove(const std::string& relative_path) const;
  std::vector<std::string> list_layers() const;     // keys
  std::vector<std::string> list_blobs() const;      // digests
  std::vector<std::string> list_snapshots() const;  // ids
  static std::string layer_entry(std::string_view key);  // relative to content/
  static std::string blob_entry(std::string_view digest);
  static std::string snapshot_entry(std::string_view id);

 private:
  std::optional<LayerMeta> find_place(std::string_view diff_id, std::string_view chain) const;
  Result<> publish_layer(StagedLayer& layer) const;
  Result<> sync_all() const;
  Content(std::string directory, sys::Root root, sys::Fd lock, bool keep_blobs, LayerForm form)
      : directory_(std::move(directory)), root_(std::move(root)), lock_(std::move(lock)), keep_blobs_(keep_blobs), form_(form) {}
  std::string directory_;
  sys::Root root_;
  sys::Fd lock_;
  const bool keep_blobs_;
  const LayerForm form_;
  mutable std::atomic<std::uint64_t> next_staging_{1};
};

}  // namespace monopod::image
