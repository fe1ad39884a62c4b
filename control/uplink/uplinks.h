// Uplinks as a person adds and deletes them: devices found by what they are called, taken from the host where
// that is needed, and given back.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "node/host_tree.h"
#include "reconcile/config_changes.h"
#include "uplink/devices.h"
#include "uplink/taken.h"

namespace Json {
class Value;
}

namespace viaduct::uplink {

/// What is to be added. `port` is a port as the API has it, without its kind and devices, and without a name
/// where the device's own will do.
struct Addition {
    std::vector<std::string> sources;  ///< one, or the members of a bond
    Driver driver = Driver::automatic;
    bool force = false;  ///< also what the host uses
};

/// Any thread. The record of what was taken is written before a device changes hands, and taken back after it
/// has: whenever the process ends, the next one gives back what no uplink is on.
class Uplinks {
public:
    struct Outcome {
        reconcile::ConfigChanges::Outcome change;
        std::vector<std::string> notes;
    };

    /// References outlive it.
    Uplinks(node::HostTree tree, store::Database& database, reconcile::ConfigChanges& changes)
        : tree_(std::move(tree)), database_(database), changes_(changes) {}

    /// Throws Refused, node::Error, store::Error; then no device has changed hands.
    Outcome add(const Addition& addition, const Json::Value& port, bool dry_run, const std::string& comment);
    /// By the port's name; or by the PCI address of a device that was taken and has no port any more.
    Outcome remove(const std::string& name, bool dry_run, const std::string& comment);

    /// At the start: gives back what no uplink is on, and takes again what uplinks are on (a reboot undoes
    /// that).
    void recover();
    /// Every second or so: takes again a device that was unplugged and is back.
    void keep();

    [[nodiscard]] std::map<std::string, Taken> taken() const;
    [[nodiscard]] const node::HostTree& tree() const { return tree_; }

private:
    struct Found;
    [[nodiscard]] Found find(const Addition& addition, const Json::Value& port) const;
    void check_free(const model::Port& wanted) const;
    void take(const std::vector<Device>& devices, std::vector<std::string>& took);
    /// One sentence for each that could not be.
    std::vector<std::string> give_back(const std::vector<std::string>& addresses);
    void take_again(const std::string& address, const Taken& taken);
    [[nodiscard]] std::map<std::string, std::string> users()
        const;  ///< ports by the PCI addresses they are on

    const node::HostTree tree_;
    store::Database& database_;
    reconcile::ConfigChanges& changes_;
    std::mutex mutex_;      ///< one change of devices at a time
    bool watching_ = true;  ///< there may be a device that was taken
    /// By address: rounds of keep() until a device that failed is tried again.
    std::map<std::string, unsigned> resting_;
};

}  // namespace viaduct::uplink
