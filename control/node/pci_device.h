// A PCI device of the node: which driver has it, whether it can be had by vfio-pci, and how it changes hands.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "node/host_tree.h"

namespace viaduct::node {

inline constexpr const char* kVfio = "vfio-pci";

struct PciDevice {
    std::string address;                  ///< in full: "0000:03:00.0"
    std::string id;                       ///< vendor and device: "8086:1521"
    bool ethernet = false;                ///< by its class
    std::string driver;                   ///< empty: none has it
    std::vector<std::string> interfaces;  ///< what the driver has made of it
    std::string group;                    ///< of its IOMMU; empty: none
    /// Others of its group that the kernel's own drivers have, with those: "0000:03:00.1 (igb)".
    std::vector<std::string> neighbours;
};

/// Nothing when there is no device at this address.
std::optional<PciDevice> read_pci_device(const HostTree& tree, const std::string& address);
/// Addresses of the node's Ethernet devices, for telling which there are.
std::vector<std::string> ethernet_devices(const HostTree& tree);

/// Why vfio-pci cannot have the device, a sentence each; none: it can. `force` overrides that the host uses
/// it. May load vfio-pci's module.
std::vector<std::string> obstacles(const HostTree& tree, const PciDevice& device, bool force);
/// What works and had better be known: no huge pages, what the host loses.
std::vector<std::string> cautions(const HostTree& tree, const PciDevice& device);

/// Gives the device to `driver`. Throws Error, with the device back where it was as far as the kernel allows
/// (it says so).
void bind(const HostTree& tree, const PciDevice& device, const std::string& driver);
/// Gives the device back to the driver that had it (empty: to none in particular). One that is not there any
/// more needs nothing. Throws Error.
void give_back(const HostTree& tree, const std::string& address, const std::string& former);

}  // namespace viaduct::node
