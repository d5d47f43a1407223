// How sandboxes, containers and images are shown: trees of CRI's messages.
#pragma once

#include "cri/pods.h"
#include "image/store.h"

namespace monopod::cri {

json::Value describe_sandbox(const Sandbox& s);                // PodSandbox
json::Value describe_sandbox_status(const Sandbox& s);         // PodSandboxStatus
json::Value describe_container(const Container& c);            // Container
// image: where it is still there.
json::Value describe_container_status(const Container& c, const std::optional<image::Image>& image);  // ContainerStatus
json::Value describe_image(const image::Image& image);         // Image

// Filters: {id, state, pod_sandbox_id, label_selector} of any of CRI's. An id may be the beginning of one.
bool matches(const json::Value& filter, const Sandbox& s);
bool matches(const json::Value& filter, const Container& c);

}  // namespace monopod::cri
