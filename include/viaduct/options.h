// A program's options from the command line and from a JSON file whose keys are the options' names. The
// command line wins. Boost.Program_options reads both.
#pragma once

#include <string>

namespace boost::program_options {
class options_description;
class variables_map;
}  // namespace boost::program_options

namespace viaduct::options {

/// Adds `--help`, `--version` and `--config FILE`, reads them all into `values` and notifies. Returns false
/// when help or the version was printed (to standard output) and the program should end well. `usage` is
/// printed before the options and `examples` after them. Throws Refused, which names the option or the file's
/// key.
bool read(int argc, const char* const* argv, const std::string& usage, const std::string& examples,
          const boost::program_options::options_description& described,
          boost::program_options::variables_map& values);

}  // namespace viaduct::options
