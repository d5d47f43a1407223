// Subcommands: each is cmd/<name>.cc with one function that adds itself to the command line; the list is commands.cc.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::cmd {

// What parsing chose to run; main runs it after the command line was accepted.
struct Invocation {
  std::function<int()> run;
  std::vector<std::string> argv;  // the whole command line
  std::vector<std::string> tail;  // what stood after "--", not parsed
};

using AddCommand = void (*)(CLI::App& parent, Invocation& invocation);
struct Command {
  std::string_view name;
  AddCommand add;
};
std::span<const Command> commands();

// A subcommand with its help and examples; when chosen, run is what main calls.
CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& summary, const std::string& examples);
// --layers, of every command that takes images in: an image::LayerForm by name.
void add_layers_option(CLI::App& app, std::string& layers);

// Prints "monopod: message" and, where known, one line of what to do; returns the exit code of the error.
int report(const Error& error);
int report(const Result<>& result);

// Options common to everything that reads the node's directories.
void add_log_options(CLI::App& app);
// Applies --log-level and --log-format; call first in a command's run.
void configure_logging();

// --config PATH, and what to do with it once the command line is parsed: options that neither flag nor environment set are
// taken from the YAML map of option names to values. A missing file is an error only where it was asked for.
void add_config_option(CLI::App& app, std::string& path);
Result<> apply_config(CLI::App& app, const std::string& path, bool required);

}  // namespace monopod::cmd
