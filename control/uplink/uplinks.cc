#include "uplink/uplinks.h"

#include <algorithm>

#include <json/json.h>
#include <spdlog/spdlog.h>

#include "viaduct/fault.h"
#include "viaduct/model.h"

#include "node/netns.h"
#include "store/config_history.h"

namespace viaduct::uplink {

namespace {

constexpr unsigned kRoundsOfRest = 30;

std::vector<std::string> pci_addresses(const model::Port& port) {
    std::vector<std::string> found;
    if (port.kind != model::PortKind::uplink) return found;
    for (const auto& device : model::devices_of(port.uplink)) {
        if (auto address = model::parse_pci_address(device)) found.push_back(std::move(*address));
    }
    return found;
}

}  // namespace

/// What an addition comes to.
struct Uplinks::Found {
    std::vector<Device> devices;
    model::Port port;
    std::vector<std::string> notes;
};

Uplinks::Found Uplinks::find(const Addition& addition, const Json::Value& port) const {
    Found found;
    if (addition.sources.empty())
        throw Refused("sources", "is required: an interface, a PCI address or a virtual device");
    const auto& queues = port["queues"];
    const auto pairs = queues.isUInt() && queues.asUInt() <= 16 ? queues.asUInt() : 1U;
    for (const auto& source : addition.sources) {
        found.devices.push_back(find_device(tree_, source, addition.driver, static_cast<std::uint16_t>(pairs),
                                            addition.force, "uplink"));
        const auto& notes = found.devices.back().notes;
        found.notes.insert(found.notes.end(), notes.begin(), notes.end());
    }
    auto whole = port;
    whole["kind"] = "uplink";
    if (!whole.isMember("name")) whole["name"] = found.devices.front().name;
    if (found.devices.size() == 1 && !whole.isMember("bond")) {
        whole["device"] = found.devices.front().words;
    } else {
        for (const auto& device : found.devices)
            whole["members"].append(device.words);
    }
    Faults faults;
    const auto name = whole["name"].isString() ? whole["name"].asString() : std::string();
    const auto read = model::port_from_json(whole, "ports/" + name, faults);
    if (!faults.empty() || !read) throw Refused(faults);
    found.port = *read;
    return found;
}

Uplinks::Outcome Uplinks::add(const Addition& addition, const Json::Value& port, bool dry_run,
                              const std::string& comment) {
    const std::scoped_lock lock(mutex_);
    auto found = find(addition, port);
    const auto& name = found.port.name;
    check_free(found.port);
    model::Change change;
    change.put.ports.emplace(name, found.port);
    // Asked first: what the dataplane or another object forbids takes nothing from the host.
    auto outcome = changes_.change(change, true, comment);
    if (dry_run) return {std::move(outcome), std::move(found.notes)};
    std::vector<std::string> took;
    try {
        take(found.devices, took);
        outcome = changes_.change(change, false, comment);
    } catch (...) {
        for (const auto& trouble : give_back(took))
            spdlog::error("{}", trouble);
        throw;
    }
    return {std::move(outcome), std::move(found.notes)};
}

/// The model would refuse this too, in the name of whichever port comes later in the alphabet.
void Uplinks::check_free(const model::Port& wanted) const {
    store::Transaction tx(database_);
    const auto config = store::present_config(tx);
    const auto place = "ports/" + wanted.name;
    if (config->ports.contains(wanted.name))
        throw Refused(place, "exists already; change it with \"viaduct port set " + wanted.name +
                                 " ...\", or give this one another name");
    const auto places = model::places_of(wanted.uplink);
    for (const auto& [name, port] : config->ports) {
        if (port.kind != model::PortKind::uplink) continue;
        for (const auto& taken : model::places_of(port.uplink)) {
            if (std::find(places.begin(), places.end(), taken) != places.end())
                throw Refused(place,
                              std::string("wants ").append(taken).append(", which port \"").append(name) +
                                  "\" has; name another, or delete that first");
        }
    }
}

/// Notes in `took` what is to be given back if it goes no further.
void Uplinks::take(const std::vector<Device>& devices, std::vector<std::string>& took) {
    for (const auto& device : devices) {
        if (!device.pci || device.pci->driver == node::kVfio) continue;
        const auto& pci = *device.pci;
        {
            store::Transaction tx(database_);
            save(tx, pci.address, {pci.driver, pci.id});
            tx.commit();
        }
        watching_ = true;
        took.push_back(pci.address);
        node::bind(tree_, pci, node::kVfio);
        spdlog::info("PCI device {} is taken from {}", pci.address,
                     pci.driver.empty() ? "no driver" : "driver " + pci.driver);
    }
}

std::vector<std::string> Uplinks::give_back(const std::vector<std::string>& addresses) {
    std::vector<std::string> troubles;
    const auto all = taken();
    for (const auto& address : addresses) {
        const auto record = all.find(address);
        if (record == all.end()) continue;
        const auto& former = record->second.former;
        try {
            node::give_back(tree_, address, former);
            store::Transaction tx(database_);
            forget(tx, address);
            tx.commit();
            spdlog::info("PCI device {} is given back to {}", address,
                         former.empty() ? "no driver" : "driver " + former);
        } catch (const std::exception& error) {
            troubles.emplace_back("PCI device ").append(address).append(" is not given back: ");
            troubles.back().append(error.what()).append("; \"viaduct uplink del ").append(address);
            troubles.back() += "\" tries again";
        }
    }
    return troubles;
}

Uplinks::Outcome Uplinks::remove(const std::string& name, bool dry_run, const std::string& comment) {
    const std::scoped_lock lock(mutex_);
    const auto address = model::parse_pci_address(name);
    if (address && taken().contains(*address)) {
        const auto used = users();
        if (const auto user = used.find(*address); user != used.end())
            throw Refused("PCI device " + *address, "is in use by port " + user->second +
                                                        "; delete that: \"viaduct uplink del " +
                                                        user->second + "\"");
        Outcome outcome;
        if (!dry_run) outcome.notes = give_back({*address});
        return outcome;
    }
    std::vector<std::string> devices;
    {
        store::Transaction tx(database_);
        const auto config = store::present_config(tx);
        const auto port = config->ports.find(name);
        if (port == config->ports.end() || port->second.kind != model::PortKind::uplink)
            throw Refused("uplink " + name, "is not there; \"viaduct uplink\" lists those that are");
        devices = pci_addresses(port->second);
    }
    model::Change change;
    change.delete_ports.insert(name);
    Outcome outcome{changes_.change(change, dry_run, comment), {}};
    // The dataplane has let go of it by now.
    if (!dry_run) outcome.notes = give_back(devices);
    return outcome;
}

std::map<std::string, Taken> Uplinks::taken() const {
    store::Transaction tx(database_);
    return load_taken(tx);
}

std::map<std::string, std::string> Uplinks::users() const {
    std::map<std::string, std::string> found;
    store::Transaction tx(database_);
    for (const auto& [name, port] : store::present_config(tx)->ports) {
        for (auto& address : pci_addresses(port))
            found.emplace(std::move(address), name);
    }
    return found;
}

void Uplinks::recover() {
    const std::scoped_lock lock(mutex_);
    const auto used = users();
    std::vector<std::string> unused;
    for (const auto& [address, record] : taken()) {
        if (!used.contains(address)) unused.push_back(address);
    }
    for (const auto& trouble : give_back(unused))
        spdlog::error("{}", trouble);
    for (const auto& [address, record] : taken()) {
        if (used.contains(address)) take_again(address, record);
    }
}

void Uplinks::keep() {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock() || !watching_) return;
    const auto all = taken();
    watching_ = !all.empty();
    const auto used = users();
    for (const auto& [address, record] : all) {
        if (used.contains(address)) take_again(address, record);
    }
}

void Uplinks::take_again(const std::string& address, const Taken& record) {
    auto& rest = resting_[address];
    if (rest > 0) {
        --rest;
        return;
    }
    const auto device = node::read_pci_device(tree_, address);
    if (!device || device->driver == node::kVfio) return;
    rest = kRoundsOfRest;
    if (device->id != record.id) {
        spdlog::error(
            "PCI device {} is another one now ({}, it was {}) and is left to the host; delete its "
            "uplink and add it again",
            address, device->id, record.id);
        return;
    }
    try {
        const auto against = node::obstacles(tree_, *device, true);
        if (!against.empty()) throw node::Error("it " + against.front());
        node::bind(tree_, *device, node::kVfio);
        rest = 0;
        spdlog::info("PCI device {} is taken again", address);
    } catch (const node::Error& error) {
        spdlog::error("PCI device {} is not taken again: {}", address, error.what());
    }
}

}  // namespace viaduct::uplink
