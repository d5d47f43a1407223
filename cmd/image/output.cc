#include "cmd/image/output.h"

#include <cstdio>

#include "sys/terminal.h"

namespace monopod::cmd {

void print_images(const json::Value& answer, bool as_json) {
  if (as_json) {
    std::printf("%s\n", json::format(answer).c_str());
    return;
  }
  sys::Table table({"REFERENCE", "ID", "SIZE", "LAYERS"});
  if (const json::Array* images = json::get_array(answer, {"images"}))
    for (const json::Value& image : *images) {
      std::string id(json::get_string(image, {"id"}).substr(0, 19));
      std::string size = sys::format_size(json::get_int(image, {"size_bytes"}));
      const json::Array* layers = json::get_array(image, {"layers"});
      std::string count = std::to_string(layers == nullptr ? 0 : layers->size());
      const json::Array* references = json::get_array(image, {"references"});
      if (references == nullptr || references->empty()) table.add({"<none>", id, size, count});
      else
        for (const json::Value& r : *references) table.add({std::string(r.get_string()), id, size, count});
    }
  table.print();
}

}  // namespace monopod::cmd
