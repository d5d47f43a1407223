#pragma once

#include "cmd/command.h"

namespace monopod::cmd {

void add_server(CLI::App& parent, Invocation& invocation);      // server.cc
void add_node(CLI::App& parent, Invocation& invocation);        // node_command.cc, hidden
void add_trial(CLI::App& parent, Invocation& invocation);       // trial.cc
void add_image(CLI::App& parent, Invocation& invocation);       // image.cc
void add_image_build(CLI::App& image, Invocation& invocation);  // image_build.cc
void add_image_diff(CLI::App& image, Invocation& invocation);   // image_diff.cc
void add_registry(CLI::App& parent, Invocation& invocation);    // registry.cc
void add_engine(CLI::App& parent, Invocation& invocation);      // engine.cc
void add_engine_process(CLI::App& parent, Invocation& invocation);  // engine.cc, hidden
void add_container(CLI::App& parent, Invocation& invocation);   // container.cc
void add_network(CLI::App& parent, Invocation& invocation);     // container.cc
void add_volume(CLI::App& parent, Invocation& invocation);      // container.cc
void add_compose(CLI::App& parent, Invocation& invocation);     // container.cc
void add_runtime(CLI::App& parent, Invocation& invocation);     // runtime.cc
void add_store(CLI::App& parent, Invocation& invocation);       // store.cc
void add_wasm(CLI::App& parent, Invocation& invocation);        // wasm.cc
void add_proxy(CLI::App& parent, Invocation& invocation);       // proxy.cc
void add_proxy_top(CLI::App& proxy, Invocation& invocation);    // proxy_top.cc
void add_version(CLI::App& parent, Invocation& invocation);     // version.cc
void add_completion(CLI::App& parent, Invocation& invocation);  // completion.cc

}  // namespace monopod::cmd
