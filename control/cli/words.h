// The command line as words in iproute2's manner: taken one after the other, keywords and commands
// abbreviated to any unique prefix, options ("-j") anywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace viaduct::cli {

/// The command line is not understood: exit status 2.
class Usage : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The command was understood and could not be carried out: exit status 1.
class Failure : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The one of `known` that `word` is or is the unique beginning of. Throws Usage, which lists `known`; `what`
/// is what was looked for ("command").
std::size_t match(std::string_view word, const std::vector<std::string_view>& known, const std::string& what);

class Words {
public:
    explicit Words(std::vector<std::string> words) : words_(std::move(words)) {}

    [[nodiscard]] bool empty() const { return next_ >= words_.size(); }
    [[nodiscard]] const std::string& peek() const { return words_[next_]; }
    /// The next word; throws Usage ("needs WHAT after LAST") when there is none.
    std::string take(const std::string& what);
    std::optional<std::string> take_if_any();
    /// The next word as one of `keys`, in full.
    std::string keyword(const std::vector<std::string_view>& keys);
    /// The next word as a number from `low` to `high`; throws Usage that names `what`.
    std::uint64_t number(const std::string& what, std::uint64_t low, std::uint64_t high);
    /// Whether a keyword is among the words that are left.
    [[nodiscard]] bool has(const std::string& key) const;
    /// Throws Usage when words are left.
    void done() const;

private:
    std::vector<std::string> words_;
    std::size_t next_ = 0;
};

/// Options that every command has, and what is left of the command line.
struct Arguments {
    bool json = false;
    bool pretty = false;      ///< indented JSON
    bool statistics = false;  ///< -s
    bool help = false;
    bool version = false;
    bool dry_run = false;
    bool dataplane = false;  ///< --dataplane, of "log level"
    std::string comment;
    bool overwrite = false;          ///< of "pod label"
    unsigned wait_seconds = 0;       ///< --wait, of "apply" and "delete"; 0: no waiting
    bool ignore_absent = false;      ///< --ignore-not-found, of "delete"
    std::string file;                ///< the last -f
    std::vector<std::string> files;  ///< all of them
    std::string output;              ///< -o
    std::string socket;              ///< of control's API
    std::vector<std::string> words;
};

/// `default_socket` where no --socket is given.
Arguments parse_arguments(const std::vector<std::string>& arguments, const std::string& default_socket);

}  // namespace viaduct::cli
