// Labels as Kubernetes has them, and the ways in which they are written outside of manifests: as an
// annotation of a pod, in CNI's arguments, on a command line. The plugin, control and the command line read
// them alike.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "viaduct/fault.h"

namespace viaduct {

using Labels = std::map<std::string, std::string>;

inline constexpr std::size_t kLabelsMost = 64;          ///< of one pod
inline constexpr std::size_t kLabelsBytesMost = 16384;  ///< of labels as one text

/// Labels with '.' between them, 253 bytes at most ("Object Names and IDs", DNS subdomain).
bool is_dns_subdomain(std::string_view text);
/// An optional subdomain and '/', then 1 to 63 letters, digits, '-', '_' and '.', beginning and ending with a
/// letter or digit ("Labels and Selectors", syntax).
bool is_label_key(std::string_view text);
/// Empty, or as the last part of a key.
bool is_label_value(std::string_view text);

/// What is wrong with this label, read on from its place ("has the key ..."); empty: nothing.
std::string label_fault(std::string_view key, std::string_view value);

/// "app=web,tier=front"; white space around a label is passed over, and so are empty ones. A fault at `where`
/// for each that is wrong, of which nothing is taken.
Labels parse_labels(std::string_view text, const std::string& where, Faults& faults);
/// The same, which parse_labels() reads back.
std::string to_string(const Labels& labels);

/// What is to become of a pod's labels.
struct LabelChange {
    Labels set;
    std::set<std::string> remove;
    /// A label that is there may be given another value.
    bool overwrite = false;
    friend bool operator==(const LabelChange&, const LabelChange&) = default;
};
/// "app=web" sets, "tier-" removes, as kubectl label has it. Throws Refused with a sentence on each word that
/// is neither, or on a key that comes twice.
LabelChange parse_label_change(const std::vector<std::string>& words);
/// Whether they were changed; a key that is to be removed and is not there is none of a change. Throws
/// Refused, and changes nothing, where a label is there with another value and must not be overwritten, or
/// they become too many.
bool apply(const LabelChange& change, Labels& labels);

}  // namespace viaduct
