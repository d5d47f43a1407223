// `monopod image diff`: what tells two images apart, or the layers of one. Reads what `image save` writes, so that it is the same for a data directory and an
// engine.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "base/strings.h"
#include "cmd/commands.h"
#include "cmd/image/engine.h"
#include "cmd/image/local.h"
#include "image/diff.h"
#include "image/fd_streams.h"
#include "sys/stream.h"
#include "sys/terminal.h"

namespace monopod::cmd {
namespace {

using image::Change;

constexpr int kDiffers = 1, kTrouble = 2;  // as diff(1)

std::string_view name_of(Change::Kind kind) { return kind == Change::Kind::kAdded ? "added" : kind == Change::Kind::kChanged ? "changed" : "removed"; }

std::string signed_size(std::int64_t bytes) { return cat(bytes < 0 ? "-" : "+", sys::format_size(bytes < 0 ? -bytes : bytes)); }

std::int64_t growth(const std::vector<Change>& changes) {
  std::int64_t out = 0;
  for (const Change& change : changes) out += static_cast<std::int64_t>(change.bytes_after) - static_cast<std::int64_t>(change.bytes_before);
  return out;
}

json::Array changes_json(const std::vector<Change>& changes) {
  json::Array out;
  for (const Change& change : changes) {
    json::Object item{{"kind", name_of(change.kind)}, {"path", cat("/", change.path)}};
    if (change.kind != Change::Kind::kAdded) item["bytesBefore"] = change.bytes_before;
    if (change.kind != Change::Kind::kRemoved) item["bytesAfter"] = change.bytes_after;
    if (!change.what.empty()) {
      json::Array what;
      for (std::string_view w : change.what) what.emplace_back(w);
      item["what"] = std::move(what);
    }
    out.push_back(std::move(item));
  }
  return out;
}

void print_changes(const std::vector<Change>& changes) {
  sys::Table table({"CHANGE", "SIZE", "PATH", "WHAT"});
  for (const Change& change : changes) {
    std::string what;
    for (std::string_view w : change.what) what += cat(what.empty() ? "" : ",", w);
    std::string size = change.kind == Change::Kind::kAdded ? sys::format_size(static_cast<std::int64_t>(change.bytes_after)) : signed_size(growth({change}));
    table.add({std::string(name_of(change.kind)), std::move(size), cat("/", change.path), std::move(what)});
  }
  table.print();
}

std::string summary(const std::vector<Change>& changes) {
  auto count = [&](Change::Kind kind) { return std::ranges::count(changes, kind, &Change::kind); };
  return cat(count(Change::Kind::kAdded), " added, ", count(Change::Kind::kChanged), " changed, ", count(Change::Kind::kRemoved), " removed, ", signed_size(growth(changes)));
}

image::Tree tree_of(const image::SavedImage& saved) {
  image::Tree out;
  for (const image::SavedLayer& layer : saved.layers) image::apply_listing(*layer.listing, out);
  return out;
}

int compare_two(const image::SavedImage& before, const image::SavedImage& after, bool as_json) {
  std::vector<Change> changes;
  if (before.id != after.id) changes = image::compare_trees(tree_of(before), tree_of(after));
  if (as_json) {
    json::Object out{{"before", before.id}, {"after", after.id}, {"bytes", growth(changes)}, {"changes", changes_json(changes)}};
    std::printf("%s\n", json::format(json::Value(std::move(out))).c_str());
  } else if (!changes.empty()) {
    print_changes(changes);
    std::printf("%s\n", summary(changes).c_str());
  }
  return changes.empty() ? 0 : kDiffers;
}

void show_layers(const image::SavedImage& saved, bool as_json) {
  image::Tree tree;
  json::Array layers;
  for (const image::SavedLayer& layer : saved.layers) {
    image::Tree before = tree;
    image::apply_listing(*layer.listing, tree);
    std::vector<Change> changes = image::compare_trees(before, tree);
    if (as_json) {
      layers.push_back(json::Object{{"diffId", layer.diff_id}, {"createdBy", layer.created_by}, {"blobBytes", layer.blob_bytes}, {"bytes", growth(changes)}, {"changes", changes_json(changes)}});
      continue;
    }
    std::printf("%s%s %s\n", &layer == saved.layers.data() ? "" : "\n", layer.diff_id.substr(0, 19).c_str(), sys::printable(layer.created_by).c_str());
    if (!changes.empty()) print_changes(changes);
    std::printf("%s\n", summary(changes).c_str());
  }
  if (as_json) std::printf("%s\n", json::format(json::Value(json::Object{{"image", saved.id}, {"layers", std::move(layers)}})).c_str());
}

Result<> save_to(const ImageOptions& options, bool said, int to) {
  ImageOptions own = options;
  own.data_dir = choose_image_directory(options.data_dir, said);
  if (node_runs(own.data_dir)) return fail(Code::kFailedPrecondition, cat("the node that runs on ", own.data_dir, " does not do this yet: give another --data-dir, or stop it"));
  if (engine_serves(own.data_dir)) return engine_save(own.files, to);
  return with_local_store(own, [to](LocalStore& store, const ImageOptions& o) { return store.images.save(o.files, to); });
}

// One end is written here, the other read by a thread of its own: to its end, also when what it read is wrong, so that the writer is never stopped.
Result<image::SavedImages> read_images(const ImageOptions& options, bool said) {
  TRY_ASSIGN(sys::Pipe pipe, sys::make_pipe());
  Result<image::SavedImages> out = fail(Code::kInternal, "not read");
  std::thread reader([&out, fd = pipe.read.get()] {
    image::FdSource source(fd);
    out = image::read_saved_images(source, {});
    std::array<std::byte, 4096> rest;
    while (source.read(rest).value_or(0) > 0) continue;
  });
  Result<> saved = save_to(options, said, pipe.write.get());
  pipe.write.reset();
  reader.join();
  if (!saved) return fail(std::move(saved).error());
  return out;
}

int diff(const ImageOptions& options, bool said) {
  configure_logging();
  Result<image::SavedImages> saved = read_images(options, said);
  if (saved && saved->images.empty()) saved = fail(Code::kDataLoss, "the archive holds no image");
  if (!saved) {
    const int code = report(saved.error());
    return code == kDiffers ? kTrouble : code;
  }
  const bool as_json = options.output == "json";
  if (options.files.size() > 1) return compare_two(saved->images.front(), saved->images.back(), as_json);
  show_layers(saved->images.front(), as_json);
  return 0;
}

}  // namespace

void add_image_diff(CLI::App& image, Invocation& invocation) {
  CLI::App* app = add_command(image, "diff", "Show what is added, changed and removed between two images, or by each layer of one",
                              "  monopod image diff app:1 app:2             exit 0: the same files, 1: they differ, 2 or more: trouble\n"
                              "  monopod image diff -o json app:1 app:2\n"
                              "  monopod image diff app:1                   layer by layer; exit 0\n"
                              "Compared are type, mode, owner, content and attributes; not times, and not the configuration.");
  auto options = std::make_shared<ImageOptions>();
  CLI::Option* where = app->add_option("--data-dir", options->data_dir, "The node's or an engine's data directory, or one of its own; the engine's where no node is")->envname("MONOPOD_DATA_DIR")->capture_default_str();
  app->add_option("name", options->files, "References or ids: the one before and the one after, or one")->required()->expected(1, 2);
  app->add_option("-o,--output", options->output, "table or json")->check(CLI::IsMember({"table", "json"}));
  app->callback([options, where, &invocation] { invocation.run = [options, said = where->count() > 0] { return diff(*options, said); }; });
}

}  // namespace monopod::cmd
