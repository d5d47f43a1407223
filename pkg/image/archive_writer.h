// Images out of the store: an OCI layout as tar (image-spec image-layout.md), with the manifest.json that docker load before 25 reads.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "image/assembler.h"
#include "image/content.h"
#include "image/limits.h"

namespace monopod::image {

struct ImageToSave {
  StoredImage image;
  std::vector<std::string> references;  // canonical; may be empty
  bool by_index = false;                // one of an index's that is saved too: it is not listed by itself
};
struct IndexToSave {
  std::string document;   // over images of the same archive
  std::string reference;  // canonical
};

enum class SaveForm {
  kAsItCame,  // every blob as it is: the digests of manifests stay
  kBundle,    // the whole file one zstd stream over plain layers, so that what they have in common is there once; ids stay, manifests' digests do not
};

// Blocking. Blobs that images share are written once. kFailedPrecondition where a layer's blob is not kept. fd stays the caller's.
Result<> save_archive(const Content& content, const Limits& limits, const std::vector<ImageToSave>& images, const std::vector<IndexToSave>& indexes, SaveForm form, int fd);

}  // namespace monopod::image
