// Plain matching; every refusal says what would have been understood.
#include "cli/words.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>

namespace viaduct::cli {

namespace {

std::string joined(const std::vector<std::string_view>& words) {
    std::string list;
    for (const auto& word : words)
        list += (list.empty() ? "" : ", ") + std::string(word);
    return list;
}

constexpr unsigned kWait = 30;  ///< seconds, where --wait says none
constexpr unsigned kWaitMost = 3600;

/// Of "--wait" or "--wait=SECONDS".
unsigned read_wait(std::string_view word) {
    const auto equals = word.find('=');
    if (equals == std::string_view::npos) return kWait;
    const auto text = std::string(word.substr(equals + 1));
    return static_cast<unsigned>(Words({text}).number("--wait", 1, kWaitMost));
}

bool takes_options(const std::string& object) {
    return object == "trace" || object == "net" || object == "uplink" || object == "flow";
}

}  // namespace

std::size_t match(std::string_view word, const std::vector<std::string_view>& known,
                  const std::string& what) {
    std::vector<std::size_t> found;
    std::vector<std::string_view> candidates;
    for (std::size_t i = 0; i < known.size(); ++i) {
        if (known[i] == word) return i;
        if (word.empty() || !known[i].starts_with(word)) continue;
        found.push_back(i);
        candidates.push_back(known[i]);
    }
    if (found.size() == 1) return found[0];
    if (found.empty()) {
        throw Usage(what + " \"" + std::string(word) + "\" is unknown; try one of: " + joined(known));
    }
    throw Usage(what + " \"" + std::string(word) + "\" may mean any of: " + joined(candidates) +
                "; write more of it");
}

std::string Words::take(const std::string& what) {
    if (empty()) {
        throw Usage(next_ == 0 ? "needs " + what : "needs " + what + " after \"" + words_[next_ - 1] + "\"");
    }
    return words_[next_++];
}

std::optional<std::string> Words::take_if_any() {
    return empty() ? std::nullopt : std::optional(words_[next_++]);
}

std::string Words::keyword(const std::vector<std::string_view>& keys) {
    auto word = take("a keyword");
    if (word.starts_with("--")) word.erase(0, 2);
    return std::string(keys[match(word, keys, "keyword")]);
}

std::uint64_t Words::number(const std::string& what, std::uint64_t low, std::uint64_t high) {
    const auto text = take("a number for " + what);
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
        throw Usage(what + " is \"" + text + "\"; it must be a number from " + std::to_string(low) + " to " +
                    std::to_string(high));
    }
    return value;
}

bool Words::has(const std::string& key) const {
    return std::any_of(words_.begin() + static_cast<std::ptrdiff_t>(next_), words_.end(),
                       [&](const std::string& word) { return word == key || word == "--" + key; });
}

void Words::done() const {
    if (!empty()) throw Usage("\"" + peek() + "\" is one word too many");
}

Arguments parse_arguments(const std::vector<std::string>& arguments, const std::string& default_socket) {
    Arguments parsed;
    parsed.socket = default_socket;
    const std::map<std::string, bool*, std::less<>> flags = {
        {"-j", &parsed.json},
        {"--json", &parsed.json},
        {"-p", &parsed.pretty},
        {"--pretty", &parsed.pretty},
        {"-s", &parsed.statistics},
        {"--statistics", &parsed.statistics},
        {"-h", &parsed.help},
        {"--help", &parsed.help},
        {"-V", &parsed.version},
        {"--version", &parsed.version},
        {"--dry-run", &parsed.dry_run},
        {"--dataplane", &parsed.dataplane},
        {"--ignore-not-found", &parsed.ignore_absent},
        {"--overwrite", &parsed.overwrite},
    };
    const std::map<std::string, std::string*, std::less<>> values = {
        {"--socket", &parsed.socket}, {"--comment", &parsed.comment}, {"-f", &parsed.file},
        {"--file", &parsed.file},     {"-o", &parsed.output},         {"--output", &parsed.output}};
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const auto& word = arguments[i];
        if (word.size() < 2 || word[0] != '-') {
            parsed.words.push_back(word);
            continue;
        }
        const auto equals = word.starts_with("--") ? word.find('=') : std::string::npos;
        if (const auto flag = flags.find(word); flag != flags.end()) {
            *flag->second = true;
        } else if (word.substr(0, equals) == "--wait") {
            parsed.wait_seconds = read_wait(word);
        } else if (const auto value = values.find(word.substr(0, equals)); value != values.end()) {
            if (equals == std::string::npos && i + 1 >= arguments.size())
                throw Usage(word + " needs a value after it");
            *value->second = equals == std::string::npos ? arguments[++i] : word.substr(equals + 1);
            if (value->second == &parsed.file) parsed.files.push_back(parsed.file);
        } else if (!parsed.words.empty() && takes_options(parsed.words.front()) && word.starts_with("--")) {
            // A packet's properties look like options, as they do in other tools that make packets, and so do
            // a network's, a container's and an uplink's, as they do in container engines.
            parsed.words.push_back(word.substr(0, equals));
            if (equals != std::string::npos) parsed.words.push_back(word.substr(equals + 1));
        } else {
            throw Usage("option \"" + word + "\" is unknown; --help lists the options");
        }
    }
    return parsed;
}

}  // namespace viaduct::cli
