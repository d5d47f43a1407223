// Made-up objects of any type, for tests that run over every kind.
#pragma once

#include "api/schema/schema.h"
#include "base/rng.h"
#include "codec/json.h"

namespace monopod::api {

// Every field set where depth allows it; not canonical, but canonicalize() accepts it.
json::Value make_sample(const Type& type, Rng& rng, int depth_max = 5);

}  // namespace monopod::api
