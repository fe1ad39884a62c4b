// Several sources' objects as one set: which source is heard of an object, and who is told that he is not.
// A source that changes costs what has changed in it, whatever there is beside it. No threads here; see
// merged.h.
//
// The rule. An object belongs to the first source that has it, in the sources' order; others' are faults that
// name both places. When the first lets go of it, the next one's is in force.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "kubernetes/objects.h"
#include "kubernetes/reader.h"
#include "source/source.h"

namespace viaduct::source {

/// For one thread.
class Precedence {
public:
    /// The sources as people call them, the one that is heard first in front.
    explicit Precedence(std::vector<std::string> sources);

    /// The source's picture is this now.
    void update(std::size_t source, const SnapshotPtr& snapshot);
    /// All of them as one. `trouble` is the caller's to say; `read_at` is that of the oldest picture.
    Snapshot snapshot();

    struct Holder {
        std::size_t source = 0;
        kubernetes::Origin origin;
    };
    /// Whose the object is; nothing: nobody has it. An Endpoints without an address is nobody's.
    [[nodiscard]] std::optional<Holder> holder(const kubernetes::ObjectId& id) const;

private:
    /// What one source says of an object: one object, but of an Endpoints its slices.
    struct Claim {
        std::size_t source = 0;
        std::vector<kubernetes::AnyObject> objects;
    };
    struct Claims {
        std::vector<Claim> claims;  ///< by source; none is empty
        std::vector<kubernetes::AnyObject> in_force;
        std::set<std::string> files;  ///< with a fault about it
    };

    template <typename Map>
    void note_differences(std::size_t source, const Map& from, const Map& to);
    void claim(std::size_t source, const kubernetes::AnyObject& object);
    void disclaim(std::size_t source, const kubernetes::AnyObject& object);
    void settle(const kubernetes::ObjectId& id);
    void tell_faults(const kubernetes::ObjectId& id, Claims& claims);
    void gather_faults(const std::string& file);

    std::vector<std::string> names_;
    std::vector<SnapshotPtr> snapshots_;  ///< null: none yet
    std::map<kubernetes::ObjectId, Claims> claims_;
    std::set<kubernetes::ObjectId> touched_;
    std::set<std::string> files_touched_;
    /// Of objects that others have, by file.
    std::map<std::string, std::map<kubernetes::ObjectId, kubernetes::DocumentFault>> unheard_;
    Snapshot now_;
};

}  // namespace viaduct::source
