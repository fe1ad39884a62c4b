// libyaml's events, made a tree of in memory that is let go of at one stroke.
#include "kubernetes/yaml.h"

#include <yaml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <new>
#include <unordered_map>
#include <vector>

namespace viaduct::kubernetes::yaml {

namespace {

constexpr std::string_view kTextTag = "tag:yaml.org,2002:str";
constexpr std::size_t kArenaBytes = 64U << 10U;

/// Thrown and caught in this file alone.
struct Broken {
    Problem problem;
};

std::string_view view(const yaml_char_t* text) {
    return text == nullptr ? std::string_view() : reinterpret_cast<const char*>(text);
}

/// One of libyaml's events.
class Event {
public:
    Event() = default;
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    ~Event() { ::yaml_event_delete(&event_); }
    yaml_event_t* get() { return &event_; }
    const yaml_event_t* operator->() const { return &event_; }

private:
    yaml_event_t event_{};
};

class Parser {
public:
    explicit Parser(std::string_view text) {
        if (::yaml_parser_initialize(&parser_) == 0) throw std::bad_alloc();
        ::yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
        ::yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                       text.size());
    }
    Parser(const Parser&) = delete;
    Parser& operator=(const Parser&) = delete;
    ~Parser() { ::yaml_parser_delete(&parser_); }

    /// `first_line`: of the text.
    void next(Event& event, std::uint32_t first_line) {
        if (::yaml_parser_parse(&parser_, event.get()) != 0) return;
        std::string reason = "is no YAML: ";
        if (parser_.context != nullptr) reason += std::string(parser_.context) + ", ";
        reason += parser_.problem == nullptr ? "it cannot be read" : parser_.problem;
        // Where bytes are no UTF-8 the parser knows their offset alone.
        const auto line = parser_.error == YAML_READER_ERROR ? parser_.mark.line : parser_.problem_mark.line;
        throw Broken{{first_line + static_cast<std::uint32_t>(line), reason}};
    }

private:
    yaml_parser_t parser_{};
};

/// Nodes and their texts.
class Arena {
public:
    Arena() {}  // NOLINT: the first bytes are not to be written to for nothing
    Node* node(Kind kind, std::uint32_t line) {
        auto* node = new (resource_.allocate(sizeof(Node), alignof(Node))) Node;
        node->kind = kind;
        node->line = line;
        return node;
    }
    Link* link() { return new (resource_.allocate(sizeof(Link), alignof(Link))) Link; }
    std::string_view text(std::string_view text) {
        if (text.empty()) return {};
        auto* copy = static_cast<char*>(resource_.allocate(text.size(), 1));
        std::memcpy(copy, text.data(), text.size());
        return {copy, text.size()};
    }
    void release() { resource_.release(); }

private:
    alignas(std::max_align_t) std::array<std::byte, kArenaBytes> first_;
    std::pmr::monotonic_buffer_resource resource_{first_.data(), first_.size()};
};

/// Two keys that are the same, of few children or of many.
const Link* find_twice(const Node& mapping) {
    if (mapping.size <= 16) {
        for (const auto* link = mapping.first; link != nullptr; link = link->next) {
            for (const auto* before = mapping.first; before != link; before = before->next) {
                if (before->key == link->key) return link;
            }
        }
        return nullptr;
    }
    std::vector<const Link*> links;
    links.reserve(mapping.size);
    for (const auto* link = mapping.first; link != nullptr; link = link->next)
        links.push_back(link);
    std::stable_sort(links.begin(), links.end(),
                     [](const Link* a, const Link* b) { return a->key < b->key; });
    const auto twice = std::adjacent_find(links.begin(), links.end(),
                                          [](const Link* a, const Link* b) { return a->key == b->key; });
    return twice == links.end() ? nullptr : *std::next(twice);
}

/// Builds the tree of one document.
class Builder {
public:
    Builder(Arena& whole, Arena& item, const Units& units, const Limits& limits, std::uint32_t first_line)
        : whole_(whole), item_(item), units_(units), limits_(limits), first_line_(first_line) {}

    /// From its start event on, to its end.
    void document(Parser& parser) {
        do {
            Event event;
            parser.next(event, first_line_);
            if (event->type == YAML_DOCUMENT_END_EVENT) break;
            take(*event.get());
        } while (true);
        if (root_ != nullptr && !is_null(*root_)) units_.document(*root_);
        item_.release();
        whole_.release();
    }

private:
    struct Frame {
        Node* node = nullptr;
        Link* last = nullptr;
        std::optional<std::string_view> key;  ///< of a mapping: what its next value is called
        std::uint32_t key_line = 0;
        std::string anchor;
    };

    [[nodiscard]] std::uint32_t line_of(const yaml_event_t& event) const {
        return first_line_ + static_cast<std::uint32_t>(event.start_mark.line);
    }
    /// Items of the root's list have memory of their own.
    Arena& arena() { return in_items() && frames_.size() >= 2 ? item_ : whole_; }
    [[nodiscard]] bool in_items() const {
        return frames_.size() >= 2 && frames_[0].node->kind == Kind::mapping && frames_[0].key == "items" &&
               frames_[1].node->kind == Kind::sequence;
    }

    void take(const yaml_event_t& event) {
        switch (event.type) {
            case YAML_SCALAR_EVENT:
                return scalar(event);
            case YAML_ALIAS_EVENT:
                return alias(event);
            case YAML_SEQUENCE_START_EVENT:
                return open(Kind::sequence, view(event.data.sequence_start.anchor), line_of(event));
            case YAML_MAPPING_START_EVENT:
                return open(Kind::mapping, view(event.data.mapping_start.anchor), line_of(event));
            case YAML_SEQUENCE_END_EVENT:
            case YAML_MAPPING_END_EVENT:
                return close();
            default:
                return;
        }
    }

    void scalar(const yaml_event_t& event) {
        const auto& scalar = event.data.scalar;
        const std::string_view text(reinterpret_cast<const char*>(scalar.value), scalar.length);
        if (awaits_key()) {
            auto& frame = frames_.back();
            if (text == "<<" && scalar.style == YAML_PLAIN_SCALAR_STYLE)
                throw Broken{
                    {line_of(event), "has a merge key (<<), which is not read: write the fields out"}};
            frame.key = arena().text(text);
            frame.key_line = line_of(event);
            return;
        }
        auto* node = arena().node(Kind::scalar, line_of(event));
        node->text = arena().text(text);
        node->plain = scalar.style == YAML_PLAIN_SCALAR_STYLE && view(scalar.tag) != kTextTag;
        remember(view(scalar.anchor), node);
        add(node, node->line);
    }

    void alias(const yaml_event_t& event) {
        const auto name = view(event.data.alias.anchor);
        const auto found = anchors_.find(std::string(name));
        if (found == anchors_.end())
            throw Broken{{line_of(event), "has the alias *" + std::string(name) +
                                              ", which stands for nothing that was finished before it"}};
        if (awaits_key())
            throw Broken{{line_of(event), "has an alias as the key of a mapping; a key must be text"}};
        add(found->second, line_of(event));
    }

    void open(Kind kind, std::string_view anchor, std::uint32_t line) {
        if (awaits_key())
            throw Broken{{line, "has a list or a mapping as the key of a mapping; a key must be text"}};
        if (frames_.size() >= limits_.depth)
            throw Broken{{line, "is nested more than " + std::to_string(limits_.depth) + " deep"}};
        Frame frame;
        frame.node = arena().node(kind, line);
        frame.anchor = anchor;
        frames_.push_back(std::move(frame));
    }

    void close() {
        Frame frame = std::move(frames_.back());
        frames_.pop_back();
        if (frame.node->kind == Kind::mapping) {
            if (const auto* twice = find_twice(*frame.node))
                throw Broken{{twice->line, "has the key \"" + std::string(twice->key) +
                                               "\" twice in one mapping; once is right"}};
        }
        remember(frame.anchor, frame.node);
        add(frame.node, frame.node->line);
    }

    [[nodiscard]] bool awaits_key() const {
        return !frames_.empty() && frames_.back().node->kind == Kind::mapping && !frames_.back().key;
    }

    void remember(std::string_view anchor, const Node* node) {
        if (!anchor.empty()) anchors_[std::string(anchor)] = node;
    }

    /// `line`: where it is written, or the alias that stands for it.
    void add(const Node* node, std::uint32_t line) {
        if (frames_.empty()) {
            root_ = node;
            return;
        }
        if (frames_.size() == 2 && in_items()) return hand_over(*node);
        auto& frame = frames_.back();
        auto* link = arena().link();
        link->node = node;
        link->line = line;
        if (frame.key) {
            link->key = *frame.key;
            link->line = frame.key_line;
            frame.key.reset();
        }
        (frame.last == nullptr ? frame.node->first : frame.last->next) = link;
        frame.last = link;
        ++frame.node->size;
        frame.node->weight += node->weight;
        if (frame.node->weight > limits_.nodes)
            throw Broken{{line, "stands for more than " + std::to_string(limits_.nodes) +
                                    " values, aliases written out; no manifest needs so many"}};
    }

    void hand_over(const Node& item) {
        units_.item(item, *frames_.front().node);
        // What an anchor names may be wanted again.
        if (anchors_.empty()) item_.release();
    }

    Arena& whole_;
    Arena& item_;
    const Units& units_;
    const Limits& limits_;
    std::uint32_t first_line_;
    std::vector<Frame> frames_;
    std::unordered_map<std::string, const Node*> anchors_;
    const Node* root_ = nullptr;
};

/// "---" that begins a document.
bool is_separator(std::string_view line) {
    return line.starts_with("---") && (line.size() == 3 || std::strchr(" \t\r", line[3]) != nullptr);
}

/// Of comments, directives and white space alone: nothing is asked for.
bool is_blank(std::string_view text) {
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        const auto first = text.substr(0, end).find_first_not_of(" \t\r");
        if (first < end && text[first] != '#' && text[first] != '%') return false;
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return true;
}

/// The code unit of "\\uD83D"; 0 where there is none.
std::uint32_t escaped_unit(std::string_view text) {
    std::uint32_t unit = 0;
    if (text.size() < 6 || text[0] != '\\' || text[1] != 'u') return 0;
    const auto [end, error] = std::from_chars(text.data() + 2, text.data() + 6, unit, 16);
    return error == std::errc() && end == text.data() + 6 ? unit : 0;
}

/// JSON writes characters beyond 16 bits as two escapes (RFC 8259 7), YAML as one: the first is made the
/// second.
std::string with_whole_escapes(std::string_view json) {
    std::string text;
    text.reserve(json.size());
    for (std::size_t at = 0; at < json.size();) {
        const auto high = escaped_unit(json.substr(at));
        const auto low = high == 0 ? 0 : escaped_unit(json.substr(at + 6));
        if ((high & 0xfc00) == 0xd800 && (low & 0xfc00) == 0xdc00) {
            std::array<char, 11> escape{};
            std::snprintf(escape.data(), escape.size(), "\\U%08X",
                          0x10000U + ((high & 0x3ffU) << 10U) + (low & 0x3ffU));
            text += escape.data();
            at += 12;
        } else {
            // What follows a backslash belongs to it.
            const std::size_t size = json[at] == '\\' && at + 1 < json.size() ? 2 : 1;
            text += json.substr(at, size);
            at += size;
        }
    }
    return text;
}

bool has_halved_escapes(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r\n");
    return first != std::string_view::npos && text[first] == '{' &&
           (text.find("\\ud") != std::string_view::npos || text.find("\\uD") != std::string_view::npos);
}

void parse_piece(std::string_view text, std::uint32_t first_line, Arena& whole, Arena& item,
                 const Units& units, const Limits& limits) {
    std::string whole_text;
    if (has_halved_escapes(text)) {
        whole_text = with_whole_escapes(text);
        text = whole_text;
    }
    try {
        Parser parser(text);
        do {
            Event event;
            parser.next(event, first_line);
            if (event->type == YAML_STREAM_END_EVENT) break;
            if (event->type != YAML_DOCUMENT_START_EVENT) continue;
            Builder(whole, item, units, limits, first_line).document(parser);
        } while (true);
    } catch (const Broken& broken) {
        units.broken(broken.problem);
    }
    item.release();
    whole.release();
}

}  // namespace

const Node* Node::find(std::string_view key) const {
    if (kind != Kind::mapping) return nullptr;
    for (const auto* link = first; link != nullptr; link = link->next) {
        if (link->key == key) return link->node;
    }
    return nullptr;
}

Plain meaning_of(std::string_view plain) {
    static constexpr std::array<std::string_view, 5> kNulls{"", "~", "null", "Null", "NULL"};
    static constexpr std::array<std::string_view, 18> kBooleans{
        "true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes", "YES",
        "no",   "No",   "NO",   "on",    "On",    "ON",    "off", "Off", "OFF"};
    const auto is_among = [&](const auto& words) {
        return std::find(words.begin(), words.end(), plain) != words.end();
    };
    if (is_among(kNulls)) return Plain::null;
    if (plain.size() <= 5 && is_among(kBooleans)) return Plain::boolean;
    // Numbers: digits with one point and an exponent at most, hexadecimal, octal, and YAML's own words.
    auto rest = plain;
    if (rest.front() == '-' || rest.front() == '+') rest.remove_prefix(1);
    if (rest == ".inf" || rest == ".Inf" || rest == ".INF") return Plain::number;
    if (plain == ".nan" || plain == ".NaN" || plain == ".NAN") return Plain::number;
    const auto consists_of = [](std::string_view text, std::string_view characters) {
        return !text.empty() && text.find_first_not_of(characters) == std::string_view::npos;
    };
    if (rest.starts_with("0x"))
        return consists_of(rest.substr(2), "0123456789abcdefABCDEF_") ? Plain::number : Plain::text;
    if (rest.starts_with("0o") || rest.starts_with("0b"))
        return consists_of(rest.substr(2), "01234567_") ? Plain::number : Plain::text;
    const auto exponent = rest.find_first_of("eE");
    const auto mantissa = rest.substr(0, exponent);
    if (exponent != std::string_view::npos) {
        auto power = rest.substr(exponent + 1);
        if (!power.empty() && (power.front() == '-' || power.front() == '+')) power.remove_prefix(1);
        if (!consists_of(power, "0123456789")) return Plain::text;
    }
    const bool digits =
        consists_of(mantissa, "0123456789._") && std::count(mantissa.begin(), mantissa.end(), '.') <= 1 &&
        mantissa.find_first_of("0123456789") != std::string_view::npos && mantissa.front() != '_';
    return digits ? Plain::number : Plain::text;
}

bool is_null(const Node& node) {
    return node.kind == Kind::scalar && node.plain && meaning_of(node.text) == Plain::null;
}

bool truth_of(std::string_view plain) {
    return plain.front() == 't' || plain.front() == 'T' || plain.front() == 'y' || plain.front() == 'Y' ||
           plain == "on" || plain == "On" || plain == "ON";
}

void parse(std::string_view text, const Units& units, const Limits& limits) {
    const auto whole = std::make_unique<Arena>();
    const auto item = std::make_unique<Arena>();
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    std::size_t begin = 0;
    std::uint32_t line = 1;
    std::uint32_t begin_line = 1;
    for (std::size_t at = 0; at <= text.size(); ++line) {
        const auto end = std::min(text.find('\n', at), text.size());
        const bool last = end == text.size();
        const bool separates = at > begin && is_separator(text.substr(at, end - at));
        if (separates || last) {
            const auto piece = text.substr(begin, (separates ? at : end) - begin);
            if (!is_blank(piece)) parse_piece(piece, begin_line, *whole, *item, units, limits);
            begin = at;
            begin_line = line;
        }
        if (separates && last && !is_blank(text.substr(at)))
            parse_piece(text.substr(at), line, *whole, *item, units, limits);
        at = end + 1;
    }
}

}  // namespace viaduct::kubernetes::yaml
