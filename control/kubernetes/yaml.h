// YAML (and JSON, which is YAML) as a light tree that knows its lines: what manifests are read from. libyaml
// finds the events; yaml-cpp, measured beside it, took eight times as long.
//
// The text is a stranger's. Nesting, size and what aliases stand for are bounded; an alias is a second way to
// the same node and never a copy, so that a "billion laughs" costs nothing and is then refused.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace viaduct::kubernetes::yaml {

enum class Kind : std::uint8_t { scalar, sequence, mapping };

struct Node;

/// A way from a collection to one of its children, in their order.
struct Link {
    std::string_view key;  ///< of a mapping's
    std::uint32_t line = 0;
    const Node* node = nullptr;
    Link* next = nullptr;
};

struct Node {
    Kind kind = Kind::scalar;
    bool plain = false;        ///< scalar: written without quotes, so that it may be a number, true or null
    std::uint32_t line = 0;    ///< from 1
    std::uint32_t size = 0;    ///< children
    std::uint64_t weight = 1;  ///< nodes that this one stands for, aliases written out
    std::string_view text;     ///< scalar
    Link* first = nullptr;
    /// The child of this key; null: none, or this is no mapping.
    [[nodiscard]] const Node* find(std::string_view key) const;
};

/// What a plain scalar is, as kubectl reads it (YAML 1.1's words for true and false included).
enum class Plain : std::uint8_t { null, boolean, number, text };
Plain meaning_of(std::string_view plain);
bool is_null(const Node& node);
/// The value of a word that is Plain::boolean.
bool truth_of(std::string_view plain);

struct Limits {
    std::uint64_t nodes = 1'000'000;  ///< of one unit, with what aliases stand for
    unsigned depth = 64;
};

struct Problem {
    std::uint32_t line = 0;
    std::string reason;
};

/// Who takes the units of a text: documents, and of a document that is a list each item by itself as soon as
/// it has been read, so that a list of a hundred thousand objects is never in memory as a tree. Nodes are the
/// parser's; they are gone when the call returns.
struct Units {
    /// An item of the root's `items`. `root` is what has been read of it so far. Whether it is a list at all
    /// is known with `document`.
    std::function<void(const Node& item, const Node& root)> item;
    /// The root of a document; its `items` are empty when they were handed over.
    std::function<void(const Node& root)> document;
    /// This document cannot be read any further; the next one is.
    std::function<void(const Problem& problem)> broken;
};

/// Reads all documents of a text. Those are told apart by their "---" lines before anything else is looked
/// at, as kubectl does, so that one that is no YAML leaves the others whole. `text` at most 4 GiB.
void parse(std::string_view text, const Units& units, const Limits& limits = {});

}  // namespace viaduct::kubernetes::yaml
