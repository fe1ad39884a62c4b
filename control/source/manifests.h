// The manifests of many files as one set of objects: what each file says, who says an object first, and what
// stays in force of a document that cannot be taken. One file that changes costs what is in it, whatever
// there is beside it. No files are opened here; whoever knows how they come and go (directory.h) tells.
//
// The rules. An object belongs to the first file, by name, that has a document of its name; others' are
// faults that name both. A document that is refused leaves its object as it was. A file that cannot be read,
// or has a document of which not even the object's name can be told, takes none of its objects away.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kubernetes/objects.h"
#include "kubernetes/reader.h"
#include "source/kept.h"
#include "source/source.h"

namespace viaduct::source {

/// For one thread.
class Manifests {
public:
    using FileName = std::shared_ptr<const std::string>;

    /// The file says this now, as a whole. `documents` were read with `file` as their file.
    void put(const FileName& file, kubernetes::Documents documents);
    /// The file is there and cannot be read; what it said last stays.
    void put_unreadable(const FileName& file, const std::string& reason);
    /// The file is gone, and with it what it said.
    void erase(const std::string& file);

    /// Brings the objects to what files say since the last call, and returns everything; `trouble` and
    /// `read_at` are the caller's to say.
    Snapshot snapshot();
    /// What is in force of the objects that snapshots changed since the last call.
    std::vector<InForce> take_changes();
    /// Whether a file was put or erased since.
    [[nodiscard]] bool changed() const { return !touched_.empty() || !files_touched_.empty(); }
    [[nodiscard]] std::size_t files() const { return files_.size(); }

private:
    struct File {
        FileName name;
        /// What it says of each object, sorted by their ids. Of objects that a refused document of unknown
        /// name may have meant, what it said before.
        std::vector<kubernetes::Document> documents;
        std::vector<kubernetes::DocumentFault> faults;
        std::size_t passed_over = 0;
    };
    /// One object, and the files that speak of it, by name; the first is heard.
    struct Claim {
        std::vector<File*> files;
        std::vector<kubernetes::AnyObject> in_force;
    };

    static const kubernetes::Document* find(const File& file, const kubernetes::ObjectId& id);
    File& file_of(const FileName& name);
    void replace(File& file, std::vector<kubernetes::Document> documents);
    void claim(File& file, const kubernetes::ObjectId& id);
    void disclaim(File& file, const kubernetes::ObjectId& id);
    void settle(const kubernetes::ObjectId& id);
    void tell_faults(const std::string& name);

    std::map<std::string, File> files_;
    std::map<kubernetes::ObjectId, Claim> claims_;
    std::set<kubernetes::ObjectId> touched_;  ///< objects that may have to change
    std::set<std::string> files_touched_;     ///< files whose faults may have to change
    std::set<kubernetes::ObjectId> changed_;  ///< objects that did change
    Snapshot now_;
};

}  // namespace viaduct::source
