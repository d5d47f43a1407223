// Images for people: {"images":[...]} as the node lists them.
#pragma once

#include "codec/json.h"

namespace monopod::cmd {

void print_images(const json::Value& answer, bool as_json);

}  // namespace monopod::cmd
