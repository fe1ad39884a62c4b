// Files of a directory: which are manifests, what tells that one has changed, and reading one that others may
// replace or write to meanwhile.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace viaduct::source {

/// *.yaml, *.yml or *.json, and not hidden.
bool is_manifest_name(std::string_view name);

/// What changes when a file does.
struct Signature {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t size = 0;
    std::int64_t modified = 0;  ///< ns since 1970
    std::int64_t changed = 0;   ///< the inode; ns since 1970
    friend bool operator==(const Signature&, const Signature&) = default;
};
Signature signature_of(const struct stat& status);
/// Of what `name` leads to. Nothing: nothing.
std::optional<Signature> look_at(int directory, const std::string& name);

/// A file's clock has steps of a few milliseconds: what changed so shortly before it was looked at may have
/// changed again without a sign.
bool is_settled(const Signature& signature, std::int64_t looked_at);
/// ns since 1970, by the clock of files.
std::int64_t file_clock();

enum class Found : std::uint8_t {
    text,
    nothing,     ///< no such file, or a directory of the name: no manifest
    unreadable,  ///< there is one; `reason` says why it was not read
    changing,    ///< somebody writes to it just now
};
struct FileText {
    Found found = Found::nothing;
    std::string reason;  ///< "cannot be read (Permission denied)"
    bool link = false;   ///< the name is a symbolic link
    Signature signature;
    std::int64_t looked_at = 0;
};
/// Reads all of a regular file into `text`; what changes while it is read is read again, a few times.
FileText read_file(int directory, const std::string& name, std::string& text);

/// Names of all entries. Nothing: the directory cannot be read, and errno says why.
std::optional<std::vector<std::string>> entries_of(int directory);

}  // namespace viaduct::source
