// From what a person calls a device (an interface, a PCI address, a virtual device) to what the dataplane
// opens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "node/host_tree.h"
#include "node/pci_device.h"

namespace viaduct::uplink {

enum class Driver : std::uint8_t {
    automatic,  ///< what fits: vfio-pci for a PCI address, af_packet for an interface
    af_packet,  ///< copies frames by a packet socket; any interface, the host goes on using it
    af_xdp,     ///< takes frames by XDP sockets, before the host sees them
    vfio_pci,   ///< takes the whole device from the host
};

struct Device {
    std::string words;  ///< as the dataplane's model has it
    std::string name;   ///< what a port on it may be called
    std::optional<node::PciDevice> pci;
    std::vector<std::string> notes;  ///< for the person
};

/// Throws Refused at `where`, in words that say which there are where there is none of this name, and what
/// keeps one from being used. Nothing is changed but that vfio-pci's module may be loaded.
Device find_device(const node::HostTree& tree, const std::string& source, Driver driver, std::uint16_t queues,
                   bool force, const std::string& where);

}  // namespace viaduct::uplink
