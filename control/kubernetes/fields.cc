// Types, ranges and words of fields.
#include "kubernetes/fields.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "kubernetes/names.h"

namespace viaduct::kubernetes {

namespace {

/// As it is told: not the whole of a long one, and nothing that a terminal would take for an order.
std::string shown(std::string_view text) {
    constexpr std::size_t kShown = 80;
    std::string safe(text.substr(0, kShown));
    for (auto& c : safe) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
    return text.size() > kShown ? safe + "..." : safe;
}
std::string quoted(std::string_view text) {
    return '"' + shown(text) + '"';
}

bool is_plain(const yaml::Node& node, yaml::Plain meaning) {
    return node.kind == yaml::Kind::scalar && node.plain && yaml::meaning_of(node.text) == meaning;
}

/// What stands there, for a fault.
std::string description(const yaml::Node& node) {
    if (node.kind == yaml::Kind::sequence) return "a list";
    if (node.kind == yaml::Kind::mapping) return "a mapping";
    if (is_plain(node, yaml::Plain::number)) return "the number " + shown(node.text);
    if (is_plain(node, yaml::Plain::boolean)) return "the truth value " + shown(node.text);
    return "the text " + quoted(node.text);
}

bool is_text_node(const yaml::Node& node) {
    return node.kind == yaml::Kind::scalar &&
           (!node.plain || yaml::meaning_of(node.text) == yaml::Plain::text);
}

/// Decimal digits alone.
std::optional<std::int64_t> integer_of(std::string_view text) {
    std::int64_t value = 0;
    if (text.starts_with('+')) text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

Value Value::operator[](std::string_view key) const {
    const yaml::Node* found = node_ == nullptr ? nullptr : node_->find(key);
    return {*this, key, 0, found, found == nullptr ? line_ : found->line};
}

Value Value::mapping(std::string_view key) const {
    auto member = (*this)[key];
    if (member.node_ != nullptr && member.node_->kind != yaml::Kind::mapping) {
        member.wrong_type("a mapping");
        member.node_ = nullptr;
    }
    return member;
}

std::string Value::field() const {
    if (parent_ == nullptr) return {};
    auto before = parent_->field();
    if (key_.empty()) return before + '[' + std::to_string(index_) + ']';
    const bool simple = key_.find_first_of("./ ") == std::string_view::npos;
    if (!simple) return before + '[' + quoted(key_) + ']';
    return before.empty() ? shown(key_) : before + '.' + shown(key_);
}

void Value::fault(std::string reason) const {
    report_->add({line_, field(), std::move(reason)});
}

void Value::wrong_type(const char* wanted) const {
    fault("is " + description(*node_) + "; " + wanted + " is wanted");
}

void Value::out_of_range(std::uint32_t low, std::uint32_t high) const {
    fault("is " + shown(node_->text) + "; " + std::to_string(low) + " to " + std::to_string(high) +
          " are possible");
}

bool Value::is_text() const {
    return node_ != nullptr && is_text_node(*node_);
}

bool Value::is_list(std::size_t most) const {
    if (node_ == nullptr) return false;
    if (node_->kind != yaml::Kind::sequence) {
        wrong_type("a list");
        return false;
    }
    if (node_->size <= most) return true;
    fault("has " + std::to_string(node_->size) + " elements; at most " + std::to_string(most) +
          " are possible");
    return false;
}

bool Value::is_mapping() const {
    if (node_ == nullptr) {
        fault("is nothing; a mapping is wanted");
        return false;
    }
    if (node_->kind == yaml::Kind::mapping) return true;
    wrong_type("a mapping");
    return false;
}

std::optional<std::string> Value::text(std::size_t longest) const {
    if (node_ == nullptr) return std::nullopt;
    if (!is_text_node(*node_)) {
        if (node_->kind != yaml::Kind::scalar) {
            wrong_type("text");
        } else {
            fault("is " + description(*node_) + "; text is wanted: write it in quotes, " +
                  quoted(node_->text));
        }
        return std::nullopt;
    }
    if (node_->text.size() <= longest) return std::string(node_->text);
    fault("has " + std::to_string(node_->text.size()) + " bytes; at most " + std::to_string(longest) +
          " are possible");
    return std::nullopt;
}

std::optional<bool> Value::boolean() const {
    if (node_ == nullptr) return std::nullopt;
    if (is_plain(*node_, yaml::Plain::boolean)) return yaml::truth_of(node_->text);
    wrong_type("true or false, without quotes,");
    return std::nullopt;
}

std::optional<std::uint32_t> Value::number(std::uint32_t low, std::uint32_t high) const {
    if (node_ == nullptr) return std::nullopt;
    if (!is_plain(*node_, yaml::Plain::number)) {
        const bool only_quotes = is_text_node(*node_) && integer_of(node_->text);
        if (only_quotes) {
            fault("is the text " + quoted(node_->text) + "; a number is wanted: write " + shown(node_->text) +
                  " without quotes");
        } else {
            wrong_type("a number");
        }
        return std::nullopt;
    }
    const auto value = integer_of(node_->text);
    if (!value && node_->text.find_first_not_of("0123456789") != std::string_view::npos) {
        wrong_type("a whole number in decimal digits");
        return std::nullopt;
    }
    if (value && *value >= low && *value <= high) return static_cast<std::uint32_t>(*value);
    out_of_range(low, high);
    return std::nullopt;
}

std::optional<std::uint16_t> Value::port() const {
    const auto value = number(1, 65535);
    if (!value) return std::nullopt;
    return static_cast<std::uint16_t>(*value);
}

std::uint16_t Value::port_or_zero() const {
    if (node_ != nullptr && is_plain(*node_, yaml::Plain::number) && integer_of(node_->text) == 0) return 0;
    return port().value_or(0);
}

std::optional<std::size_t> Value::choice(const std::vector<std::string_view>& words) const {
    const auto word = text();
    if (!word) return std::nullopt;
    const auto found = std::find(words.begin(), words.end(), *word);
    if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
    std::string known;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (i > 0) known += i + 1 == words.size() ? " and " : ", ";
        known += words[i];
    }
    fault("is " + quoted(*word) + "; " + known + " are possible");
    return std::nullopt;
}

std::optional<IpAddress> Value::address() const {
    const auto written = text();
    if (!written) return std::nullopt;
    const auto address = IpAddress::parse(*written);
    if (!address) {
        fault("is " + quoted(*written) +
              "; an IPv4 address such as 10.0.0.1 or an IPv6 address such as fd00::1 is wanted");
        return std::nullopt;
    }
    if (!address->is_v4() && address->number() >> 32 == 0xffff) {
        fault("is " + quoted(*written) + ", an IPv4 address written as IPv6; write it as IPv4");
        return std::nullopt;
    }
    return address;
}

std::vector<IpAddress> Value::addresses(std::size_t most) const {
    std::vector<IpAddress> found;
    each(most, [&](const Value& element) {
        if (element.absent()) return element.fault("is nothing; an address is wanted");
        if (const auto address = element.address()) found.push_back(*address);
    });
    return found;
}

std::optional<model::Transport> Value::transport() const {
    static const std::vector<std::string_view> words{"TCP", "UDP", "SCTP"};
    static constexpr std::array kinds{model::Transport::tcp, model::Transport::udp, model::Transport::sctp};
    const auto word = choice(words);
    if (!word) return std::nullopt;
    return kinds.at(*word);
}

std::optional<std::string> Value::name(bool (*is_name)(std::string_view), const char* right) const {
    auto written = text();
    if (!written || is_name(*written)) return written;
    fault("is " + quoted(*written) + "; " + right);
    return std::nullopt;
}

std::optional<Labels> Value::labels(bool checked) const {
    if (node_ == nullptr) return std::nullopt;
    if (node_->kind != yaml::Kind::mapping) {
        wrong_type("a mapping of text to text");
        return std::nullopt;
    }
    constexpr std::size_t kLongest = 262144;  // what the API allows of all annotations together
    Labels labels;
    for (const auto* link = node_->first; link != nullptr; link = link->next) {
        const Value member(*this, link->key, 0, link->node, link->line);
        const auto value = member.absent() ? std::string() : member.text(kLongest);
        if (!value) continue;
        if (checked && !is_qualified_name(link->key))
            member.fault(
                "has a key that is no label's; 1 to 63 letters, digits, '-', '_' and '.', after a "
                "domain and '/' or without, are right");
        if (checked && !is_label_value(*value))
            member.fault("is " + quoted(*value) +
                         "; at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both "
                         "ends, are right");
        labels.emplace(link->key, *value);
    }
    return labels;
}

}  // namespace viaduct::kubernetes
