// Bounds of CustomResourceDefinitions and of the work that one object may ask for. Each says why.
#pragma once

#include <cstddef>

namespace monopod::api::crd {

inline constexpr std::size_t kDefinitionsMax = 2000;             // as many as a node can meaningfully serve: each costs a cache
inline constexpr std::size_t kSchemaNodesMax = 100'000;          // of one version; the largest operators in use have some ten thousand
inline constexpr int kSchemaDepthMax = 64;                       // of one version; objects are no deeper than trees may be (kTreeDepthMax)
inline constexpr std::size_t kVersionsMax = 32;
inline constexpr std::size_t kPatternStepsMax = 5'000'000;       // of all matching for one object: some 50 ms of the loop, then it is refused
inline constexpr std::size_t kDefaultBytesMax = 4U << 20;         // that defaults may add to one object, about: more than a body may have
inline constexpr std::size_t kErrorsMax = 100;                   // of one object, then the rest is left unsaid
inline constexpr std::size_t kColumnsMax = 64;
inline constexpr std::size_t kSelectableFieldsMax = 8;           // as upstream

}  // namespace monopod::api::crd
