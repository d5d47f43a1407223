// The files of configMap, secret, downwardAPI and projected volumes. Pure, but for tokens, which are handed in.
#pragma once

#include <map>
#include <string>

#include "agent/env.h"
#include "agent/volumes/atomic_writer.h"

namespace monopod::agent {

// By "audience\nexpirationSeconds".
using Tokens = std::map<std::string, std::string>;
std::string token_key(const ProjectionSource& source);

// Texts are those of FailedMount events: configmap "x" not found, references non-existent config key: k.
Result<Payload> make_payload(const Pod& pod, const Volume& volume, const ReferencedObjects& objects, const Tokens& tokens, const PodFacts& facts);

// Modes as fsGroup changes them: group gets what the owner may read.
void apply_fs_group(Payload& payload);

}  // namespace monopod::agent
