#include "image/records.h"

#include "image/digest.h"

namespace monopod::image {
namespace {

using json::Value;

boost::json::array list_json(const std::vector<std::string>& items) {
  boost::json::array out;
  for (const std::string& item : items) out.emplace_back(item);
  return out;
}

std::vector<std::string> read_list(const Value& root, const char* key) {
  std::vector<std::string> out;
  if (const auto* items = json::get_array(root, {key}))
    for (const Value& item : *items)
      if (item.is_string()) out.emplace_back(item.get_string());
  return out;
}

std::int64_t nanos(WallTime t) { return t.time_since_epoch().count(); }
WallTime time_of(const Value& root, const char* key) { return WallTime(Duration(json::get_int(root, {key}))); }

Result<> check_digests(const std::vector<std::string>& digests) {
  for (const std::string& digest : digests)
    if (!is_digest(digest)) return fail(Code::kDataLoss, "record: not a digest");
  return {};
}

}  // namespace

std::string format_record(const ImageRecord& record) {
  boost::json::object out;
  out["id"] = record.stored.id;
  out["manifest"] = record.stored.manifest_digest;
  out["indexes"] = list_json(record.stored.index_digests);
  if (!record.stored.repo_digests.empty()) out["repoDigests"] = list_json(record.stored.repo_digests);
  out["layers"] = list_json(record.stored.layers);
  out["blobs"] = list_json(record.stored.blobs);
  out["bytes"] = record.stored.size_bytes;
  out["imported"] = nanos(record.imported);
  out["lastUsed"] = nanos(record.last_used);
  return json::format(Value(std::move(out)));
}

Result<ImageRecord> parse_image_record(std::string_view text) {
  TRY_ASSIGN(Value root, json::parse(text));
  ImageRecord out;
  out.stored.id = json::get_string(root, {"id"});
  out.stored.manifest_digest = json::get_string(root, {"manifest"});
  out.stored.index_digests = read_list(root, "indexes");
  out.stored.repo_digests = read_list(root, "repoDigests");
  out.stored.layers = read_list(root, "layers");
  out.stored.blobs = read_list(root, "blobs");
  out.stored.size_bytes = static_cast<std::uint64_t>(json::get_int(root, {"bytes"}));
  out.imported = time_of(root, "imported");
  out.last_used = time_of(root, "lastUsed");
  TRY(check_digests({out.stored.id, out.stored.manifest_digest}));
  TRY(check_digests(out.stored.layers));
  TRY(check_digests(out.stored.blobs));
  return out;
}

std::string format_record(const SnapshotRecord& record) {
  boost::json::object out;
  out["image"] = record.image_id;
  out["layers"] = list_json(record.layers);
  return json::format(Value(std::move(out)));
}

Result<SnapshotRecord> parse_snapshot_record(std::string_view text) {
  TRY_ASSIGN(Value root, json::parse(text));
  SnapshotRecord out{.image_id = std::string(json::get_string(root, {"image"})), .layers = read_list(root, "layers")};
  TRY(check_digests({out.image_id}));
  TRY(check_digests(out.layers));
  return out;
}

std::string format_record(const DropInRecord& record) {
  boost::json::object out;
  out["size"] = record.size;
  out["mtime"] = record.mtime_ns;
  out["images"] = list_json(record.images);
  out["failed"] = record.failed;
  return json::format(Value(std::move(out)));
}

Result<DropInRecord> parse_drop_in_record(std::string_view text) {
  TRY_ASSIGN(Value root, json::parse(text));
  return DropInRecord{.size = static_cast<std::uint64_t>(json::get_int(root, {"size"})),
                      .mtime_ns = json::get_int(root, {"mtime"}),
                      .images = read_list(root, "images"),
                      .failed = json::get_bool(root, {"failed"})};
}

}  // namespace monopod::image
