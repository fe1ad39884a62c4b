// A look into another network namespace: DPDK's drivers of kernel interfaces find theirs by name, in the
// namespace of whatever thread calls.
#pragma once

#include "port/descriptor.h"

namespace viaduct::dataplane {

/// While it lives, the calling thread is in the namespace. Ends the process when the way back is barred: a
/// thread that stayed there would do to it what is meant for the node.
class NamespaceVisit {
public:
    /// `there` is open; none: stay. Throws std::runtime_error when it cannot be entered.
    explicit NamespaceVisit(const Descriptor& there);
    ~NamespaceVisit();
    NamespaceVisit(const NamespaceVisit&) = delete;
    NamespaceVisit& operator=(const NamespaceVisit&) = delete;

private:
    Descriptor back_;
};

}  // namespace viaduct::dataplane
