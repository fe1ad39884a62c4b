// An Ethernet device of DPDK's from plugging in to removal: found, configured, started, watched, closed.
#pragma once

#include <cstdint>
#include <string>

#include "viaduct/model.h"

#include "port/offload.h"

struct rte_mempool;
struct rte_eth_conf;
struct rte_eth_dev_info;

namespace viaduct::dataplane {

/// Descriptors of each queue in each direction. A device holds a packet buffer for each, so this is what a
/// port's account of buffers has to cover.
inline constexpr std::uint16_t kEthdevRing = 512;

/// What a device's name says before DPDK is asked.
struct EthdevName {
    std::string bus;        ///< "pci" or "vdev"
    std::string name;       ///< PCI address with domain, or "net_af_packet0"
    std::string arguments;  ///< what follows the first comma
    /// The kernel interface behind a virtual device ("iface=eth1"); empty: none.
    std::string interface;
};

EthdevName parse_ethdev_name(const std::string& device);

/// A started device. Main thread, but for what its queues do.
class Ethdev {
public:
    enum class Link : std::uint8_t { up, down, gone };

    /// Plugs in, configures `port.queues` queue pairs, sets the MTU and starts. Throws Refused; nothing of
    /// the device is left then. The pool outlives it.
    Ethdev(const model::Port& port, rte_mempool* pool);
    ~Ethdev() { close(); }
    Ethdev(const Ethdev&) = delete;
    Ethdev& operator=(const Ethdev&) = delete;

    [[nodiscard]] std::uint16_t id() const { return id_; }
    [[nodiscard]] const EthdevName& name() const { return name_; }
    /// Driver and speed, for people.
    [[nodiscard]] std::string words() const;
    /// Asks the device and, for one that stands on a kernel interface, the kernel: such drivers call their
    /// link up whatever happens. Any thread.
    [[nodiscard]] Link link() const;
    /// Becomes readable when frames wait in `queue` after interrupts were enabled; -1: the driver has none.
    [[nodiscard]] int receive_descriptor(std::uint16_t queue) const;
    /// What the device does with frames that it sends.
    [[nodiscard]] Offloads offloads() const { return offloads_; }
    /// It sums IPv4 headers, too.
    [[nodiscard]] bool sums_ip() const { return sums_ip_; }
    /// False, and why, when the device keeps its MTU.
    bool set_mtu(std::uint32_t mtu, std::string& why);
    /// Stops, closes and unplugs. No queue may be in use.
    void close();

private:
    void plug_in();
    void unplug();
    void configure(const model::Port& port, rte_mempool* pool);
    std::uint64_t choose_offloads(std::uint64_t capable);
    void check_mtu(std::uint32_t mtu, const rte_eth_dev_info& info, std::uint32_t room) const;
    int start(std::uint16_t queues, const rte_eth_conf& conf, rte_mempool* pool);

    EthdevName name_;
    std::string driver_;
    std::uint16_t id_;
    unsigned kernel_index_ = 0;  ///< of the interface behind it when it was opened; 0: none
    Offloads offloads_ = 0;
    bool sums_ip_ = false;
    bool interrupts_ = false;
    bool plugged_ = false;
    bool started_ = false;
    bool opened_ = false;  ///< an ethdev was found
};

}  // namespace viaduct::dataplane
