#include "cmd/image/output.h"

#include <cstdio>

#include "sys/terminal.h"

namespace monopod::cmd {

void print_images(const json::Value& answer, bool as_json) {
  if (as_json) {
    std::printf("%s\n", json::format(answer).c_str());
    return;
  }
  sys::Table table({"REFERENCE", "ID", "SIZE", "LAYERS", "PLATFORM"});
  if (const json::Array* images = json::get_array(answer, {"images"}))
    for (const json::Value& image : *images) {
      auto indexes = [&image = image](std::string_view reference) -> const json::Array* {
        if (const json::Array* all = json::get_array(image, {"indexes"}))
          for (const json::Value& index : *all)
            if (json::get_string(index, {"reference"}) == reference) return json::get_array(index, {"images"});
        return nullptr;
      };
      std::string platform(json::get_string(image, {"platform"}));
      std::string id(json::get_string(image, {"id"}).substr(0, 19));
      std::string size = sys::format_size(json::get_int(image, {"size_bytes"}));
      const json::Array* layers = json::get_array(image, {"layers"});
      std::string count = std::to_string(layers == nullptr ? 0 : layers->size());
      const json::Array* references = json::get_array(image, {"references"});
      if (references == nullptr || references->empty()) table.add({"<none>", id, size, count, platform});
      else
        for (const json::Value& r : *references) {
          const json::Array* several = indexes(r.get_string());
          if (several == nullptr) table.add({std::string(r.get_string()), id, size, count, platform});
          else
            for (const json::Value& one : *several)
              table.add({std::string(r.get_string()), std::string(json::get_string(one, {"id"}).substr(0, 19)), sys::format_size(json::get_int(one, {"size_bytes"})), std::to_string(json::get_int(one, {"layer_count"})), std::string(json::get_string(one, {"platform"}))});
        }
    }
  table.print();
}

}  // namespace monopod::cmd
