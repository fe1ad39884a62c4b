// DPDK's environment: started once for the process, from options that were checked before.
#pragma once

#include <string>
#include <vector>

#include "options.h"

namespace viaduct::dataplane {

/// The arguments for rte_eal_init, program name included. Lcore 0 is the main thread, which floats over
/// `other_cpus`; lcore i is worker i - 1, pinned to its CPU.
std::vector<std::string> eal_arguments(const Options& options);

/// Memory and lcores, from construction to destruction. One in a process, on its main thread.
class Eal {
public:
    /// Throws std::runtime_error in words when DPDK cannot start.
    explicit Eal(const Options& options);
    ~Eal();
    Eal(const Eal&) = delete;
    Eal& operator=(const Eal&) = delete;

    [[nodiscard]] const std::vector<unsigned>& worker_lcores() const { return worker_lcores_; }

private:
    std::vector<unsigned> worker_lcores_;
};

}  // namespace viaduct::dataplane
