// Where desired state comes from: a directory of manifests, manifests applied by hand, etcd, the Kubernetes
// API. Each delivers the same,
// a whole picture that nobody changes any more, whenever it has a new one; what is new in it is found by
// comparing it with the one before, which costs no more than the difference.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "viaduct/shared_map.h"

#include "kubernetes/objects.h"
#include "kubernetes/reader.h"

namespace viaduct::source {

/// What a source knows at one instant.
struct Snapshot {
    kubernetes::Objects objects;
    /// What was refused, by the file or other place that it is in. An object whose document is refused is in
    /// `objects` as it was before.
    SharedMap<std::string, std::vector<kubernetes::DocumentFault>> faults;
    /// Why all of it may be older than it should be ("the directory /x is not there ..."); empty: nothing is
    /// known to be wrong.
    std::string trouble;
    std::size_t files = 0;                          ///< that were read
    std::size_t documents = 0;                      ///< of kinds that are read, refused ones included
    std::size_t passed_over = 0;                    ///< of other kinds
    std::chrono::system_clock::time_point read_at;  ///< when the source itself was last seen whole
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

class Source {
public:
    /// Called on a thread of the source, or of whoever changes it, one call at a time, in order; not after
    /// stop() has returned. While it runs the source waits: hand over, and do the work elsewhere.
    using Listener = std::function<void(SnapshotPtr)>;

    Source() = default;
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    virtual ~Source() = default;

    /// For people: "directory /etc/viaduct/manifests".
    [[nodiscard]] virtual std::string name() const = 0;
    /// Begins to look. The first snapshot comes as soon as everything has been read once; until a source has
    /// been there at all, none comes. Once only. Throws std::runtime_error where the kernel gives no means
    /// to watch.
    virtual void start(Listener listener) = 0;
    /// Ends it; waits for a listener that is at work. May be called again. Never from the listener.
    virtual void stop() = 0;
    /// What was delivered last, with `trouble` as it is now; empty before the first. Any thread.
    [[nodiscard]] virtual SnapshotPtr latest() const = 0;
    /// What keeps the first snapshot from coming, or makes the latest one old; empty: nothing. Any thread.
    [[nodiscard]] virtual std::string trouble() const = 0;
};

}  // namespace viaduct::source
