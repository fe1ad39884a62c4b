#include "ports.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>

#include "viaduct/fault.h"

namespace viaduct::pktgen {

namespace {

/// Both ports' rings full of frames, the window and the cache of the pool.
constexpr unsigned kFrames = 8192 - 1;
constexpr unsigned kFramesCached = 512;

/// A socket that a dead process left would refuse bind(); one that is listened on stays.
void remove_stale_socket(const std::string& path) {
    struct stat found {};
    if (::lstat(path.c_str(), &found) != 0) return;
    if (!S_ISSOCK(found.st_mode)) throw Refused("--paths", path + " exists and is no socket");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr generic{};
    static_assert(sizeof generic <= sizeof address);
    const bool in_use =
        ::connect(descriptor, static_cast<sockaddr*>(static_cast<void*>(&address)), sizeof address) == 0;
    ::close(descriptor);
    if (in_use) throw Refused("--paths", path + " is listened on by another process");
    std::filesystem::remove(path);
}

std::string device(const Options& options, unsigned number, const rte_ether_addr& mac) {
    char text[RTE_ETHER_ADDR_FMT_SIZE];
    rte_ether_format_addr(text, sizeof text, &mac);
    auto words = "--vdev=net_virtio_user" + std::to_string(number) + ",path=" + options.paths[number] +
                 ",server=1,queues=1,queue_size=" + std::to_string(options.queue_size) + ",mac=" + text;
    if (!options.device_arguments.empty()) words += "," + options.device_arguments;
    return words;
}

void start_eal(const Options& options) {
    // The report has standard output for itself.
    rte_openlog_stream(stderr);
    std::vector<std::string> words = {
        "viaduct-pktgen",
        "-l",
        std::to_string(options.cpu),
        "-n1",
        "--no-pci",
        "--no-telemetry",
        "--in-memory",
        // vhost-user carries eight memory regions: one file a segment would be more, and nothing would
        // arrive.
        "--single-file-segments",
        "--file-prefix=" + options.file_prefix,
        "-m",
        std::to_string(options.memory_mb),
        "--log-level=*:warning",
        device(options, Ports::kNear, options.source_mac),
        device(options, Ports::kFar, options.far_mac),
    };
    std::vector<char*> pointers;
    for (auto& word : words)
        pointers.push_back(word.data());
    if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) < 0)
        throw std::runtime_error(std::string("DPDK cannot start: ") + rte_strerror(rte_errno));
}

void check(int result, const char* what) {
    if (result < 0) throw std::runtime_error(std::string(what) + ": " + rte_strerror(-result));
}

void start_port(std::uint16_t port, std::uint16_t slots, rte_mempool* frames) {
    const rte_eth_conf configuration{};
    check(rte_eth_dev_configure(port, 1, 1, &configuration), "configuring a port");
    check(rte_eth_rx_queue_setup(port, 0, slots, SOCKET_ID_ANY, nullptr, frames),
          "setting a receive queue up");
    check(rte_eth_tx_queue_setup(port, 0, slots, SOCKET_ID_ANY, nullptr), "setting a send queue up");
    check(rte_eth_dev_start(port), "starting a port");
}

}  // namespace

Ports::Ports(const Options& options) : paths_(options.paths) {
    for (const auto& path : paths_)
        remove_stale_socket(path);
    start_eal(options);
    frames_ = rte_pktmbuf_pool_create("frames", kFrames, kFramesCached, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
                                      SOCKET_ID_ANY);
    if (frames_ == nullptr)
        throw std::runtime_error(std::string("no memory for frames: ") + rte_strerror(rte_errno));
    start_port(kNear, options.queue_size, frames_);
    start_port(kFar, options.queue_size, frames_);
}

Ports::~Ports() {
    for (const auto port : {kNear, kFar}) {
        rte_eth_dev_stop(port);
        rte_eth_dev_close(port);
    }
    const std::string runtime = rte_eal_get_runtime_dir();
    rte_eal_cleanup();
    std::error_code ignored;
    std::filesystem::remove(runtime, ignored);  // empty, and DPDK leaves it behind
    for (const auto& path : paths_)
        std::filesystem::remove(path, ignored);
}

}  // namespace viaduct::pktgen
