// `monopod image` on a data directory that no node has open: the image store in this process. Layers are kept as they came too, so that
// what was loaded or pulled can be pushed and saved.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "async/pool.h"
#include "async/state_store.h"
#include "async/time.h"
#include "base/rng.h"
#include "image/store.h"

namespace monopod::cmd {

struct ImageOptions {
  std::string data_dir = "/var/lib/monopod";
  std::string layers = "directory";
  std::string output = "table";
  std::vector<std::string> files;  // or names of images
  std::string reference;
  std::string name;
  // pull and push
  std::string platform, credentials, auth_file, hosts_dir = "/etc/monopod/certs.d";
  bool plain_http = false;
  std::string stall_timeout = "60s";
  // save
  std::string archive;
  bool bundle = false;
  // prune and ls
  bool all = false;
  // pack
  std::vector<std::string> copies;
  std::vector<std::string> links;
  std::vector<std::string> entrypoint;
  std::vector<std::string> command;
  std::vector<std::string> environment;
  std::string user;
};

// The store of a directory, open while use runs.
struct LocalStore {
  image::ImageStore& images;
  async::StateStore& state;
  async::Pool& pool;
  async::Time& time;
  Rng& rng;
  http::TlsClient* tls;  // null without root certificates
  http::Resolver* resolver;
};
Result<> with_local_store(ImageOptions options, std::function<async::Task<Result<>>(LocalStore&, const ImageOptions&)> use);
// Mounts from here on are nobody else's, and go with the process.
Result<> own_mounts();
// With the credentials and at the registries that the options say. Prints nothing.
async::Task<Result<image::ImportedImage>> pull_one(image::ImageStore& images, const ImageOptions& options, std::string name);
// An image to a registry, under target.
async::Task<Result<>> push_one(image::ImageStore& images, const ImageOptions& options, std::string name, std::string target);

// To a file that appears whole, or to standard output where path is "-".
Result<> write_archive(const std::string& path, const std::function<Result<>(int to)>& write);

Result<> local_load(const ImageOptions& options);
Result<> local_list(const ImageOptions& options);
Result<> local_inspect(const ImageOptions& options);
Result<> local_remove(const ImageOptions& options);
Result<> local_tag(const ImageOptions& options);
Result<> local_pull(const ImageOptions& options);
Result<> local_push(const ImageOptions& options);
Result<> local_save(const ImageOptions& options);
Result<> local_bundle(const ImageOptions& options);
Result<> local_history(const ImageOptions& options);
Result<> local_prune(const ImageOptions& options);
Result<> local_import(const ImageOptions& options);
Result<> local_export(const ImageOptions& options);

}  // namespace monopod::cmd
