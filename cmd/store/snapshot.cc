// `monopod store snapshot save|restore|status`: backups by hand.
#include <unistd.h>

#include <array>
#include <cstdio>

#include "backup/backup.h"
#include "backup/file.h"
#include "base/strings.h"
#include "cmd/store/commands.h"
#include "cmd/store/output.h"
#include "cmd/store/remote.h"
#include "codec/compress.h"
#include "codec/proto_wire.h"
#include "etcd/snapshot/snapshot.h"
#include "store/offline.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using async::Task;

struct SnapshotCommand {
  RemoteOptions remote;
  std::string file;
  std::string format = "monopod";
  std::string data_dir;
  std::int64_t bump_revision = 0;
  bool skip_hash_check = false, drop_auth = false;
};

json::Object describe(const std::string& file, const backup::Info& info) {
  return json::Object{{"file", file}, {"format", "monopod"}, {"revision", info.head.revision}, {"created", info.head.created}, {"written_by", info.head.version},
                      {"database_bytes", info.database_bytes}, {"file_bytes", info.file_bytes}, {"sha256", info.sha256_hex}};
}

void print_done(const SnapshotCommand& command, const char* what, const backup::Info& info) {
  if (command.remote.output == "json") {
    print_json(describe(command.file, info));
    return;
  }
  std::printf("%s %s: revision %lld, %s (%s uncompressed)\n", what, command.file.c_str(), static_cast<long long>(info.head.revision), sys::format_size(info.file_bytes).c_str(),
              sys::format_size(info.database_bytes).c_str());
}

void print_etcd(const SnapshotCommand& command, const char* what, const etcd::SnapshotInfo& info) {
  char hash[16];
  std::snprintf(hash, sizeof hash, "%08x", info.hash);
  if (command.remote.output == "json") {
    print_json(json::Object{{"file", command.file}, {"format", "etcd"}, {"revision", info.revision.value}, {"compact_revision", info.compacted.value}, {"hash", hash}, {"total_keys", info.total_keys},
                            {"records", info.records}, {"leases", info.leases}, {"database_bytes", info.bytes}, {"has_sha256", info.has_sha256}});
    return;
  }
  std::printf("%s %s: of etcd, revision %lld, %lld records, %s, hash %s\n", what, command.file.c_str(), static_cast<long long>(info.revision.value), static_cast<long long>(info.records),
              sys::format_size(info.bytes).c_str(), hash);
}

// --- save

// A stream of blobs in field blob_field; field 2, where the server sends it, is how much is left.
Task<Result<>> receive(Remote& remote, std::string path, std::uint32_t blob_field, codec::ByteSink& file, sys::ProgressBar& bar) {
  CO_TRY_ASSIGN(std::unique_ptr<etcd::Stream> stream, co_await remote.client->open(std::move(path)));
  CO_TRY(co_await stream->write(""));
  CO_TRY(co_await stream->finish_writing());
  std::int64_t done = 0;
  for (;;) {  // until the server ends it
    CO_TRY_ASSIGN(std::optional<std::string> message, co_await stream->read());
    if (!message) break;
    std::int64_t left = 0;
    for (ProtoReader reader(*message);;) {
      CO_TRY_ASSIGN(bool more, reader.next());
      if (!more) break;
      if (reader.field() == 2) left = reader.integer();
      if (reader.field() != blob_field) continue;
      CO_TRY(file.write(as_bytes(reader.bytes())));
      done += static_cast<std::int64_t>(reader.bytes().size());
    }
    bar.update(done, left > 0 ? done + left : 0, "receiving");
  }
  if (done == 0) co_return fail(Code::kDataLoss, "the server sent nothing");
  co_return Result<>();
}

// The file gets its name only once all of it is here and has been checked.
Task<Result<>> save(Remote& remote, const SnapshotCommand& command) {
  if (::access(command.file.c_str(), F_OK) == 0) co_return fail(Code::kAlreadyExists, command.file + ": there is such a file: choose another name");
  CO_TRY_ASSIGN(std::unique_ptr<backup::PendingFile> file, backup::PendingFile::create(command.file));
  sys::ProgressBar bar(command.file);
  if (command.format == "etcd") {
    CO_TRY(co_await receive(remote, "/etcdserverpb.Maintenance/Snapshot", 3, *file, bar));
    CO_TRY_ASSIGN(etcd::SnapshotInfo info, etcd::snapshot_status(file->pending_path()));
    bar.finish();
    if (!info.has_sha256) co_return fail(Code::kDataLoss, "the snapshot came without its hash");
    CO_TRY(file->commit());
    print_etcd(command, "saved", info);
    co_return Result<>();
  }
  Result<> received = co_await receive(remote, "/monopod.Store/Snapshot", 1, *file, bar);
  if (!received && received.error().code() == Code::kUnimplemented) co_return fail(Code::kUnimplemented, "the server is no monopod with a file of its own: try --format etcd");
  CO_TRY(std::move(received));
  CO_TRY_ASSIGN(backup::Info info, backup::decode(file->pending_path(), nullptr, [&bar](std::int64_t done, std::int64_t total) { bar.update(done, total, "checking"); }));
  bar.finish();
  CO_TRY(file->commit());
  print_done(command, "saved", info);
  co_return Result<>();
}

// --- restore, status

// Ours is a zstd stream; what is none is taken for etcd's.
Result<bool> is_ours(const std::string& path) {
  TRY_ASSIGN(sys::Fd fd, backup::open_file(path));
  std::array<std::byte, 4> head{};
  backup::FileSource source(fd, 0, static_cast<std::int64_t>(head.size()));
  TRY(codec::read_full(source, head));
  return codec::detect_compression(head) == codec::Compression::kZstd;
}

etcd::OnSnapshotProgress show_on(sys::ProgressBar& bar, const char* step) {
  return [&bar, step](etcd::SnapshotProgress p) -> Result<> {
    bar.update(p.done, p.total, step);
    return {};
  };
}

Result<> restore_etcd(const SnapshotCommand& command) {
  TRY(backup::check_restore_target(command.data_dir));
  std::string path = command.data_dir + "/state.db";
  sys::ProgressBar bar(command.file);
  Result<etcd::SnapshotInfo> info = etcd::restore_snapshot({.snapshot = command.file, .store = path, .drop_auth = command.drop_auth, .skip_hash_check = command.skip_hash_check, .on_progress = show_on(bar, "restoring")});
  bar.finish();
  if (!info) return fail(std::move(info).error());
  if (command.bump_revision > 0) TRY(store::advance_revision(path, command.bump_revision));
  print_etcd(command, "restored", *info);
  return {};
}

Result<> restore(const SnapshotCommand& command) {
  TRY_ASSIGN(bool ours, is_ours(command.file));
  if (!ours) return restore_etcd(command);
  sys::ProgressBar bar(command.file);
  Result<backup::Info> info = backup::restore(command.file, command.data_dir, {.bump_revision = command.bump_revision},
                                              [&bar](std::int64_t done, std::int64_t total) { bar.update(done, total, "restoring"); });
  bar.finish();
  if (!info) return fail(std::move(info).error());
  print_done(command, "restored", *info);
  return {};
}

Result<> show(const SnapshotCommand& command) {
  TRY_ASSIGN(bool ours, is_ours(command.file));
  if (!ours) {
    Result<etcd::SnapshotInfo> info = etcd::snapshot_status(command.file);
    if (!info) return fail(std::move(info).error());
    print_etcd(command, "sound", *info);
    return {};
  }
  sys::ProgressBar bar(command.file);
  Result<backup::Info> info = backup::decode(command.file, nullptr, [&bar](std::int64_t done, std::int64_t total) { bar.update(done, total, "checking"); });
  bar.finish();
  if (!info) return fail(std::move(info).error());
  if (command.remote.output == "json") {
    print_json(describe(command.file, *info));
    return {};
  }
  sys::Table table({"FILE", command.file});
  table.add({"revision", std::to_string(info->head.revision)});
  table.add({"created", info->head.created});
  table.add({"written by", "monopod " + info->head.version});
  table.add({"size", cat(sys::format_size(info->file_bytes), ", ", sys::format_size(info->database_bytes), " uncompressed")});
  table.add({"sha256", info->sha256_hex});
  table.add({"sound", "yes: every byte was checked"});
  table.print();
  return {};
}

}  // namespace

void add_store_snapshot(CLI::App& store, Invocation& invocation) {
  CLI::App* app = add_command(store, "snapshot", "Backups: save a running store, check a file, restore it",
                              "  sudo monopod store snapshot save --data-dir /var/lib/monopod /mnt/usb/state.db.zst\n"
                              "  monopod store snapshot status /mnt/usb/state.db.zst\n"
                              "  sudo monopod store snapshot restore /mnt/usb/state.db.zst --data-dir /var/lib/monopod-new\n"
                              "\n"
                              "A backup is a zstd stream: zstd -dc state.db.zst > state.db gives the SQLite file.");
  app->require_subcommand(1);
  auto command = std::make_shared<SnapshotCommand>();
  command->remote.timeout = "10m";
  auto add_file = [&](CLI::App* sub) { sub->add_option("file", command->file, "The backup")->required(); };

  CLI::App* save_app = add_command(*app, "save", "Save a running store into a file",
                                   "  sudo monopod store snapshot save --data-dir /var/lib/monopod backup.db.zst\n"
                                   "  monopod store snapshot save --endpoints 10.0.0.1:2379 --format etcd backup.db");
  add_file(save_app);
  save_app->add_option("--format", command->format, "monopod, or etcd: as etcdctl snapshot save, for etcd's tools")->check(CLI::IsMember({"monopod", "etcd"}))->capture_default_str();
  add_remote_options(*save_app, command->remote);
  save_app->callback([command, &invocation] {
    invocation.run = [command] { return run_remote("snapshot save", command->remote, [&](Remote& remote) { return save(remote, *command); }); };
  });

  CLI::App* restore_app = add_command(*app, "restore", "Make a data directory of a backup, ours or etcd's",
                                      "  sudo monopod store snapshot restore backup.db.zst --data-dir /var/lib/monopod-new\n"
                                      "  sudo monopod store snapshot restore backup.db.zst --data-dir /data/new --bump-revision 1000000");
  add_file(restore_app);
  restore_app->add_option("--data-dir", command->data_dir, "Absent or empty")->required();
  restore_app->add_option("--bump-revision", command->bump_revision, "Count on from so much later; clients that saw newer revisions than the backup has then start over")->check(CLI::NonNegativeNumber);
  restore_app->add_flag("--skip-hash-check", command->skip_hash_check, "Take a database file of etcd that has no hash, such as member/snap/db");
  restore_app->add_flag("--drop-auth", command->drop_auth, "Of etcd's: without its users and roles; the new store is open to everybody who reaches it");
  add_output_option(*restore_app, command->remote.output);
  restore_app->callback([command, &invocation] { invocation.run = [command] { return report_store("snapshot restore", restore(*command)); }; });

  CLI::App* status_app = add_command(*app, "status", "Check all of a backup and show what it is", "  monopod store snapshot status backup.db.zst -o json");
  add_file(status_app);
  add_output_option(*status_app, command->remote.output);
  status_app->callback([command, &invocation] { invocation.run = [command] { return report_store("snapshot status", show(*command)); }; });
}

}  // namespace monopod::cmd
