// An Ethernet device of DPDK's from plugging in to removal: found, configured, started, watched, closed.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "port/device_filter.h"
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
    std::string bus;        ///< "pci", "vdev", or "bond": made here, of others
    std::string name;       ///< PCI address with domain, or "net_af_packet0"
    std::string arguments;  ///< what follows the first comma
    /// The kernel interface behind a virtual device ("iface=eth1"); empty: none.
    std::string interface;
};

EthdevName parse_ethdev_name(const std::string& device);
/// Whether what the device stands on is there: its kernel interface, or its place on the bus. True for what
/// stands on nothing.
bool is_present(const EthdevName& name);

/// A device that is plugged in, and then started. Main thread, but for what its queues do.
class Ethdev {
public:
    enum class Link : std::uint8_t { up, down, gone };

    /// Plugs in; a kernel interface that is down is set up. Throws Refused; nothing of the device is left
    /// then.
    explicit Ethdev(EthdevName name);
    ~Ethdev() { close(); }
    Ethdev(const Ethdev&) = delete;
    Ethdev& operator=(const Ethdev&) = delete;

    /// Throws Refused where the device has not the queues, or cannot carry the MTU.
    void check(const model::Port& port, rte_mempool* pool);
    /// Configures `port.queues` queue pairs, sets the MTU and starts; promiscuous, if the port is. Throws
    /// Refused. The pool outlives it.
    void start(const model::Port& port, rte_mempool* pool);
    /// Has it take frames for any address. Throws Refused.
    void take_all() const;
    /// Has it take what is for its own address, groups and these, and no more. After start(), or the bond's
    /// that it is a member of; in the namespace of its interface. Throws Refused; what was in force stays so.
    void filter_by(const std::vector<MacAddress>& addresses, OwnAddress own);

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
    struct Events;  ///< how DPDK calls
    void plug_in();
    void unplug();
    void watch_removal();
    void unwatch_removal();
    std::uint64_t choose_offloads(std::uint64_t capable);
    void check_mtu(std::uint32_t mtu, const rte_eth_dev_info& info, std::uint32_t room) const;
    int start_queues(std::uint16_t queues, const rte_eth_conf& conf, rte_mempool* pool);

    EthdevName name_;
    std::string driver_;
    std::uint16_t id_;
    unsigned kernel_index_ = 0;  ///< of the interface behind it when it was opened; 0: none
    Offloads offloads_ = 0;
    bool sums_ip_ = false;
    bool interrupts_ = false;
    std::unique_ptr<DeviceFilter> filter_;  ///< none: it takes everything
    std::atomic<bool> removed_{false};      ///< the kernel wants it back, and waits for it
    bool plugged_ = false;
    bool opened_ = false;  ///< an ethdev was found
    bool watched_ = false;
};

}  // namespace viaduct::dataplane
