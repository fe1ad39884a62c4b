// What tests of ports share: one EAL for the process, frames, and processes that are always taken away.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "port/port.h"

struct rte_mempool;
struct rte_mbuf;

namespace viaduct::dataplane::test {

/// The pool of the process's EAL, which is started on the first call.
rte_mempool* pool();
/// Buffers that somebody holds. Waits a moment for per-core caches to be the only holders.
unsigned buffers_in_use();

/// True as soon as `condition` is; false after `seconds`.
bool eventually(const std::function<bool()>& condition, double seconds = 10);

struct Listener : PortListener {
    std::atomic<unsigned> changes{0};
    void port_changed(PortIndex) override { ++changes; }
};

/// A directory of its own that goes away with everything in it.
class Scratch {
public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    [[nodiscard]] std::string path(const std::string& name) const { return (directory_ / name).string(); }

private:
    std::filesystem::path directory_;
};

/// A child process, killed at the end of its scope. Its output goes to `log`.
class Process {
public:
    Process(std::vector<std::string> command, const std::string& log);
    ~Process() { kill(); }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    void kill();  ///< as kill -9 does, and waits for the end
    [[nodiscard]] pid_t pid() const { return pid_; }

private:
    pid_t pid_ = -1;
    int input_ = -1;  ///< held open: dpdk-testpmd ends with its standard input
};

/// Runs to its end; the exit status.
int run(const std::string& command);

/// An Ethernet frame of `size` bytes whose payload counts up from `seed`.
std::vector<std::uint8_t> frame_of(std::size_t size, std::uint8_t seed = 0);
rte_mbuf* to_chain(const std::vector<std::uint8_t>& bytes);
/// The chain's bytes; frees it.
std::vector<std::uint8_t> to_bytes(rte_mbuf* frame);

/// Receives from one queue of a port until `count` frames have come or the time is over.
std::vector<std::vector<std::uint8_t>> receive_from(Port& port, std::uint16_t queue, std::size_t count,
                                                    double seconds = 10);
/// Transmits one frame; false when it was not taken.
bool transmit_to(Port& port, std::uint16_t queue, const std::vector<std::uint8_t>& bytes);

}  // namespace viaduct::dataplane::test
