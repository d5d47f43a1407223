// Reads an image archive into an Assembler: an OCI layout as tar (skopeo oci-archive:, umoci and tar, docker save of 25 and later)
// or a docker-archive (docker save, skopeo docker-archive:), plain or compressed as a whole.
//
// A plain regular file is scanned by its headers; then only the layers that are missing are read, in place. Anything else (pipe,
// compressed) is read once, front to back: each blob that may be a layer is unpacked into staging as it passes, and
// thrown away if nothing names it. Either way a layer's bytes are written once.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "image/assembler.h"

namespace monopod::image {

struct ArchiveOptions {
  Platform platform = host_platform();
  bool all_platforms = false;  // of an index every image that is there, instead of the platform's
  std::string reference;  // for an only image without a name
  std::function<void(std::uint64_t done, std::uint64_t total, const std::string& step)> progress;  // on the calling thread; may be empty
};

// Blocking. fd is read from its current position (a regular file from its start) and stays the caller's. Publishes; the caller records.
Result<std::vector<StoredImage>> import_archive(int fd, const Content& content, const Limits& limits, const ArchiveOptions& options,
                                                const std::atomic<bool>& stop);

}  // namespace monopod::image
