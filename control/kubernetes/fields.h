// Reading the fields of a manifest: each getter takes what it knows, and a wrong type, a value out of range
// or a list too long becomes a fault that names the field as people write it ("spec.ports[1].nodePort").
// What nobody asks for is passed over: a cluster's own manifests carry much that is not the network's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "viaduct/address.h"

#include "kubernetes/objects.h"
#include "kubernetes/yaml.h"

namespace viaduct::kubernetes {

/// What was found wrong with one document.
class Report {
public:
    struct Entry {
        std::uint32_t line = 0;
        std::string field;
        std::string reason;
        friend bool operator==(const Entry&, const Entry&) = default;
    };
    /// No more than these are told of one document: who gets a hundred wrong has one to mend.
    static constexpr std::size_t kMost = 10;

    /// What was told already (of a field that is looked at twice) is not told again.
    void add(Entry entry) {
        if (entries_.size() < kMost && std::find(entries_.begin(), entries_.end(), entry) == entries_.end())
            entries_.push_back(std::move(entry));
    }
    [[nodiscard]] bool empty() const { return entries_.empty(); }
    [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

private:
    std::vector<Entry> entries_;
};

/// A place in a document and what stands there, if anything. Null counts as nothing, as it does for the API.
/// Borrows the value that it was reached from, which must outlive it.
class Value {
public:
    Value(const yaml::Node& root, Report& report) : node_(&root), line_(root.line), report_(&report) {}

    [[nodiscard]] bool absent() const { return node_ == nullptr; }
    [[nodiscard]] std::uint32_t line() const { return line_; }

    /// The member of this key, whatever it is.
    [[nodiscard]] Value operator[](std::string_view key) const;
    /// The member, which must be a mapping where it is there.
    [[nodiscard]] Value mapping(std::string_view key) const;

    // Getters: nothing where nothing stands there, or where it is wrong, which is a fault then.
    [[nodiscard]] std::optional<std::string> text(std::size_t longest = 4096) const;
    [[nodiscard]] std::string text_or_empty() const { return text().value_or(std::string()); }
    [[nodiscard]] std::optional<bool> boolean() const;
    [[nodiscard]] bool boolean_or(bool otherwise) const { return boolean().value_or(otherwise); }
    [[nodiscard]] std::optional<std::uint32_t> number(std::uint32_t low, std::uint32_t high) const;
    /// 1..65535
    [[nodiscard]] std::optional<std::uint16_t> port() const;
    /// The same; 0 is the API's word for nothing.
    [[nodiscard]] std::uint16_t port_or_zero() const;
    /// One of `words`, as its index.
    [[nodiscard]] std::optional<std::size_t> choice(const std::vector<std::string_view>& words) const;
    [[nodiscard]] std::optional<IpAddress> address() const;
    [[nodiscard]] std::optional<model::Transport> transport() const;
    /// Text by a rule; `right` says it in words.
    [[nodiscard]] std::optional<std::string> name(bool (*is_name)(std::string_view), const char* right) const;
    /// A mapping of text to text.
    [[nodiscard]] std::optional<Labels> labels(bool checked) const;
    /// Calls `take(Value)` for each element; at most `most`.
    template <typename Take>
    void each(std::size_t most, const Take& take) const {
        if (!is_list(most)) return;
        std::size_t index = 0;
        for (const auto* link = node_->first; link != nullptr; link = link->next)
            take(Value(*this, {}, index++, link->node, link->line));
    }
    /// The same; whatever is no mapping is a fault and not taken.
    template <typename Take>
    void each_mapping(std::size_t most, const Take& take) const {
        each(most, [&](const Value& element) {
            if (element.is_mapping()) take(element);
        });
    }
    /// Elements that are addresses.
    [[nodiscard]] std::vector<IpAddress> addresses(std::size_t most) const;
    /// This is text, not a number: of a value that may be either.
    [[nodiscard]] bool is_text() const;

    /// `reason` reads on from the field: "is 70000; 1 to 65535 are possible".
    void fault(std::string reason) const;
    [[nodiscard]] std::string field() const;

private:
    Value(const Value& parent, std::string_view key, std::size_t index, const yaml::Node* node,
          std::uint32_t line)
        : node_(node != nullptr && yaml::is_null(*node) ? nullptr : node),
          line_(line),
          parent_(&parent),
          key_(key),
          index_(index),
          report_(parent.report_) {}
    [[nodiscard]] bool is_list(std::size_t most) const;
    [[nodiscard]] bool is_mapping() const;
    void wrong_type(const char* wanted) const;
    void out_of_range(std::uint32_t low, std::uint32_t high) const;

    const yaml::Node* node_;
    std::uint32_t line_;  ///< of this, or of what it would be in
    const Value* parent_ = nullptr;
    std::string_view key_;   ///< in a mapping
    std::size_t index_ = 0;  ///< in a list
    Report* report_;
};

}  // namespace viaduct::kubernetes
