// The store as its files see it: store.cc (images, names, collection), store_snapshots.cc, store_out.cc (commit, push, save).
#pragma once

#include <atomic>
#include <boost/asio/post.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "async/event.h"
#include "image/content.h"
#include "image/layer_mount.h"
#include "image/recover.h"
#include "image/store.h"

namespace monopod::image {

inline constexpr auto kProgressInterval = std::chrono::milliseconds(200);

// Carries progress from the pool thread to the loop, a few times a second.
class ProgressRelay {
 public:
  ProgressRelay(async::Executor executor, ProgressCallback callback)
      : executor_(executor), callback_(callback ? std::make_shared<ProgressCallback>(std::move(callback)) : nullptr) {}
  void operator()(std::uint64_t done, std::uint64_t total, const std::string& step) {
    if (!callback_) return;
    auto now = std::chrono::steady_clock::now();
    if (step == step_ && now - last_ < kProgressInterval) return;
    last_ = now;
    step_ = step;
    boost::asio::post(executor_, [callback = callback_, progress = ImportProgress{done, total, step}] { (*callback)(progress); });
  }

 private:
  async::Executor executor_;
  std::shared_ptr<ProgressCallback> callback_;
  std::chrono::steady_clock::time_point last_{};
  std::string step_;
};

class Store final : public ImageStore {
 public:
  Store(Options options, async::Executor executor, async::Pool& pool, async::Time& time, async::StateStore& state, std::unique_ptr<Content> content)
      : options_(std::move(options)), executor_(executor), pool_(pool), time_(time), records_(state), content_(std::move(content)), changed_(executor) {}
  ~Store() override { stop_ = true; }

  async::Task<Result<>> recover_state();

  async::Task<Result<std::vector<ImportedImage>>> import_file(std::string path, ImportOptions options) override;
  async::Task<Result<std::vector<ImportedImage>>> import_fd(int fd, ImportOptions options) override;
  async::Task<Result<ImportedImage>> pull(std::string reference, PullOptions options) override;
  async::Task<Result<std::size_t>> import_drop_ins() override;
  std::optional<Image> find(std::string_view name) const override;
  std::optional<Image> find_for(std::string_view name, const Platform& platform) const override;
  async::Task<Result<std::string>> group(std::vector<std::string> ids, std::vector<std::string> references) override;
  std::vector<Image> list() const override;
  async::Task<Result<>> tag(std::string name, std::string reference) override;
  async::Task<Result<bool>> remove(std::string name) override;
  async::Task<Result<Snapshot>> prepare_snapshot(std::string container_id, std::string image_id) override;
  std::optional<Snapshot> find_snapshot(std::string_view container_id) const override;
  std::vector<std::string> list_snapshots() const override;
  async::Task<Result<>> mount(std::string container_id, std::string target, sys::IdMaps maps) override;
  async::Task<Result<>> unmount(std::string target) override;
  async::Task<Result<>> remove_snapshot(std::string container_id) override;
  async::Task<Result<std::uint64_t>> snapshot_bytes(std::string container_id) override;
  async::Task<Result<Usage>> usage() override;
  void mark_used(std::string_view name) override;
  async::Task<Result<GcResult>> gc(GcPolicy policy) override;
  async::Task<Result<std::string>> read_blob(std::string digest) override;
  async::Task<Result<ImportedImage>> commit(CommitOptions options) override;
  async::Task<Result<>> push(std::string name, std::string reference, PushOptions options) override;
  async::Task<Result<>> check_login(std::string domain, std::string username, std::string password) override;
  async::Task<Result<>> save(std::vector<std::string> names, int fd, SaveOptions options) override;

 private:
  // Imports share; a sweep is alone, since it would take what an import found present or published unrecorded.
  class ImportGuard {
   public:
    explicit ImportGuard(Store& store) : store_(store) { ++store_.imports_; }
    ~ImportGuard() {
      --store_.imports_;
      store_.changed_.wake_all();
    }
    ImportGuard(const ImportGuard&) = delete;
    ImportGuard& operator=(const ImportGuard&) = delete;

   private:
    Store& store_;
  };
  // One call at a time works on a container's snapshot; others of the same id wait.
  class SnapshotGuard {
   public:
    SnapshotGuard(Store& store, std::string id) : store_(store), id_(std::move(id)) { store_.busy_snapshots_.insert(id_); }
    ~SnapshotGuard() {
      if (unrecorded_) store_.state_.snapshots.erase(id_);  // failed, or unwound by cancellation
      store_.busy_snapshots_.erase(id_);
      store_.changed_.wake_all();
    }
    SnapshotGuard(const SnapshotGuard&) = delete;
    SnapshotGuard& operator=(const SnapshotGuard&) = delete;
    void set_unrecorded(bool unrecorded) { unrecorded_ = unrecorded; }

   private:
    Store& store_;
    std::string id_;
    bool unrecorded_ = false;
  };
  class SweepGuard {
   public:
    explicit SweepGuard(Store& store) : store_(store) { store_.sweeping_ = true; }
    ~SweepGuard() {
      store_.sweeping_ = false;
      store_.changed_.wake_all();
    }
    SweepGuard(const SweepGuard&) = delete;
    SweepGuard& operator=(const SweepGuard&) = delete;

   private:
    Store& store_;
  };

  async::Task<Result<std::vector<ImportedImage>>> import_opened(int fd, std::string path, ImportOptions options);
  async::Task<Result<std::vector<ImportedImage>>> record(std::vector<StoredImage> images);
  async::Task<Result<std::uint64_t>> sweep();
  async::Task<Result<>> sweep_if_idle();
  async::Task<Result<>> remove_image(std::string id);
  Image describe(const std::string& id, const ImageRecord& record) const;
  std::optional<std::string> find_id(std::string_view name) const;
  const std::pair<const std::string, IndexRecord>* find_index(std::string_view name) const;
  bool is_named(const std::string& id) const;
  async::Task<Result<>> name(std::string reference, std::string id, const IndexRecord* index);
  async::Task<Result<>> remove_others(const IndexRecord& index);
  bool in_use(const std::string& id) const;
  std::vector<std::string> references_of(const std::string& id) const;
  async::Task<Result<>> forget_digests(std::string id, std::string repository);
  Snapshot snapshot_of(const std::string& id, const SnapshotRecord& record) const;
  std::string content_directory() const { return options_.data_dir + "/content"; }

  Options options_;
  async::Executor executor_;
  async::Pool& pool_;
  async::Time& time_;
  async::StateStore& records_;
  std::unique_ptr<Content> content_;
  StoreState state_;
  std::size_t imports_ = 0;
  bool sweeping_ = false;
  bool sweep_pending_ = false;
  std::set<std::string> busy_snapshots_;
  LayerMounts layer_mounts_;
  std::map<std::string, std::vector<std::shared_ptr<const OpenLayer>>, std::less<>> mounted_;  // by target: whoever comes next shares them
  async::Notify changed_;
  std::atomic<bool> stop_{false};
};

}  // namespace monopod::image
