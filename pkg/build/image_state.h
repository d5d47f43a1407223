// An image in the making: its configuration, and which image holds the layers so far. Instructions that only change the configuration are done here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "build/dockerfile.h"
#include "build/words.h"
#include "codec/json.h"
#include "image/config.h"

namespace monopod::build {

class ImageState {
 public:
  ImageState() = default;
  static ImageState scratch(const image::Platform& platform);
  // A base's configuration, whose members we do not know stay.
  static Result<ImageState> from_config(std::string_view text);

  const std::string& image_id() const { return image_id_; }
  image::Platform platform() const;
  const std::vector<std::string>& diff_ids() const { return diff_ids_; }
  void set_image(std::string id, std::vector<std::string> diff_ids) {
    image_id_ = std::move(id);
    diff_ids_ = std::move(diff_ids);
  }

  // ENV LABEL USER EXPOSE VOLUME CMD ENTRYPOINT SHELL STOPSIGNAL HEALTHCHECK ONBUILD MAINTAINER.
  Result<> apply(const Instruction& instruction, const FindVariable& find, const WordOptions& words);
  Result<std::string> set_working_dir(std::string_view path);  // returns it absolute
  void set_label(std::string_view key, std::string_view value);
  std::vector<std::string> take_triggers();  // ONBUILD of the base

  std::optional<std::string> find_env(std::string_view name) const;
  std::vector<std::string> env() const;
  std::string working_dir() const;                              // "/" where there is none
  std::string absolute_path(std::string_view path) const;       // below the working directory; a '/' at its end stays
  std::string user() const;
  std::vector<std::string> shell() const;

  void add_history(std::string_view created_by, bool empty_layer);
  // JSON, without rootfs. created: of the image, and of its steps that are ours; empty: without times, for what tells two images apart.
  std::string config(const std::string& created) const;
  // The least that can stand over the same layers: what a step's image is made with, so that equal layers are one image.
  std::string layers_only() const;

 private:
  json::Object& settings();
  void set_list(std::string_view member, const std::vector<std::string>& items);
  Result<> set_command(std::string_view member, const Instruction& instruction);
  Result<> set_health_check(const Instruction& instruction);

  json::Value config_;
  std::string image_id_;
  std::vector<std::string> diff_ids_;
  bool command_set_ = false;  // in this Dockerfile: ENTRYPOINT forgets a base's CMD only
};

}  // namespace monopod::build
