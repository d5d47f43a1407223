// An upload that is under way.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "image/blob_writer.h"

namespace monopod::registry {

struct Upload {
  std::string id;
  std::string repository;
  std::unique_ptr<image::BlobWriter> writer;
  MonoTime last_used{};
  bool busy = false;  // a request writes to it
  bool gone = false;  // finished or dropped while another request held it
};

}  // namespace monopod::registry
