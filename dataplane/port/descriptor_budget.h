// How many file descriptors ports may use. A budget and not a look at what is open: a guest's come when it
// connects.
#pragma once

#include <memory>
#include <mutex>

#include "viaduct/model.h"

namespace viaduct::dataplane {

/// Thread-safe.
class DescriptorBudget : public std::enable_shared_from_this<DescriptorBudget> {
public:
    /// `total` may be used by ports.
    explicit DescriptorBudget(unsigned total) : total_(total) {}

    /// Raises RLIMIT_NOFILE to its hard limit and leaves out what is open now and a reserve for the process
    /// itself.
    static std::shared_ptr<DescriptorBudget> of_process();

    /// A share that goes back when the last copy of what is returned is gone. Throws Refused when it does not
    /// fit.
    std::shared_ptr<void> reserve(const model::Port& port);
    [[nodiscard]] unsigned reserved() const;

    /// The most that a port of this kind opens.
    static unsigned needed(const model::Port& port);

private:
    const unsigned total_;
    mutable std::mutex mutex_;
    unsigned reserved_ = 0;
};

}  // namespace viaduct::dataplane
