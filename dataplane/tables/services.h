// Where services are found and who answers there. A picture of all of them, immutable, which shares with the
// one before what has not changed: one endpoint that comes or goes among a hundred thousand costs the making
// of its service's entry, and a look-up costs the same however many services there are.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "flow/record.h"

namespace viaduct::dataplane {

/// Since the dataplane has started; any worker adds.
struct ServiceCounters {
    std::atomic<std::uint64_t> flows{0};    ///< that were given a backend
    std::atomic<std::uint64_t> refused{0};  ///< packets for which there was none, or whose client may not
    std::atomic<std::uint32_t> next{0};     ///< round robin's turn
};

/// One service's backends that take new flows, of one family.
struct BackendPool {
    std::vector<std::uint16_t> members;  ///< indices into the service's backends
    std::vector<std::uint16_t> maglev;   ///< slots, indices into the service's backends; for Balance::maglev
    std::vector<std::uint32_t> weights;  ///< sums up to and with each member; for random and round robin
};

/// A service in force.
class ServiceEntry {
public:
    ServiceEntry(const model::Service& config, Zone zone, std::shared_ptr<ServiceCounters> counters);

    [[nodiscard]] const model::Service& config() const { return config_; }
    [[nodiscard]] Zone zone() const { return zone_; }
    /// FlowTail::rule of its flows: the same for the same service, whatever its backends.
    [[nodiscard]] std::uint32_t id() const { return id_; }
    [[nodiscard]] const std::string& label() const { return label_; }  ///< "apps/web/http"
    [[nodiscard]] ServiceCounters& counters() const { return *counters_; }
    [[nodiscard]] const std::shared_ptr<ServiceCounters>& shared_counters() const { return counters_; }
    /// Those of whom one is chosen; `local_only`: of this node, as a frontend says. Those that drain are
    /// among them only where all do, and distant ones where all others do, or where it is this node that
    /// counts. A pool that no frontend asks for is empty; one for those outside asks for both, because those
    /// inside may go anywhere.
    [[nodiscard]] const BackendPool& pool(bool v4, bool local_only) const {
        return pools_[v4 ? 0 : 1][local_only ? 1 : 0];
    }
    /// Whether there is anybody at all, of this family and on whatever node.
    [[nodiscard]] bool has_backend(bool v4) const;
    /// Starts the loads of what choosing for a new flow reads of the entry itself.
    void fetch() const;
    /// Whoever it is, draining too; null: it is none of them.
    [[nodiscard]] const model::Backend* backend(const IpAddress& address, std::uint16_t port) const;

private:
    void fill(BackendPool& pool, bool v4, bool local_only) const;

    // What choosing reads lies together, from the middle of the first to the first pool: fetch().
    model::Service config_;
    Zone zone_;
    std::uint32_t id_;
    std::shared_ptr<ServiceCounters> counters_;
    std::array<std::array<BackendPool, 2>, 2> pools_;  ///< IPv4, IPv6; all, those of this node
    std::string label_;
};

using ServiceEntryPtr = std::shared_ptr<const ServiceEntry>;

class Services {
public:
    struct Match {
        const ServiceEntry* service = nullptr;
        const model::Frontend* frontend = nullptr;
        explicit operator bool() const { return service != nullptr; }
    };

    /// Port in host order. The match lives as long as this picture. Any thread.
    [[nodiscard]] Match find(Zone zone, std::uint8_t protocol, const IpAddress& address,
                             std::uint16_t port) const;
    /// The same in steps for a burst, whose look-ups wait for memory together then: each step starts the
    /// loads of what the next one reads.
    struct Lookup {
        std::uint64_t hash = 0;
        Zone zone = 0;
        std::uint8_t protocol = 0;
        std::uint16_t port = 0;
        const IpAddress* address = nullptr;
    };
    void fetch(Lookup& lookup) const;  ///< first: fills in `hash`
    void fetch_slots(const Lookup& lookup) const;
    void fetch_entry(const Lookup& lookup) const;
    [[nodiscard]] Match find(const Lookup& lookup) const;
    /// By ServiceEntry::id; null: there is none. Of two with the same one, which is as likely as one in 2^32,
    /// either.
    [[nodiscard]] const ServiceEntry* find(std::uint32_t id) const;
    /// Whether ARP and ND are answered for the address; and all such addresses.
    [[nodiscard]] bool announces(Zone zone, const IpAddress& address) const {
        return announced_->contains({zone, address});
    }
    using Announced = std::map<std::pair<Zone, IpAddress>, std::uint32_t>;  ///< frontends that say so
    [[nodiscard]] const Announced& announced() const { return *announced_; }
    /// To whose backend a flow goes, or went before its service changed; null: to nobody's. `rule`:
    /// FlowTail::rule, which a masquerade may have put in the service's place. Whoever finds the node by a
    /// loopback address finds its services there.
    template <typename Key>
    [[nodiscard]] const ServiceEntry* of_flow(const FlowRecord<Key>& initiator, std::uint32_t rule) const;
    void visit(const std::function<void(const ServiceEntry&)>& visit) const;  ///< in no order
    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] std::size_t size() const { return size_; }

private:
    friend class ServicesBuilder;

    struct Slot {
        std::uint64_t hash;
        ServiceEntryPtr service;
        model::Frontend frontend;  ///< unused in by_id_
    };
    using Shard = std::vector<Slot>;
    /// A change copies the list of shards, and of them those that it touches.
    static constexpr std::size_t kShards = 4096;
    using Shards = std::vector<std::shared_ptr<const Shard>>;  ///< null: empty

    [[nodiscard]] ServiceEntryPtr entry_of(const model::Service& service) const;
    static std::uint64_t hash_place(Zone zone, std::uint8_t protocol, const IpAddress& address,
                                    std::uint16_t port);
    static std::size_t shard_of(std::uint64_t hash) { return hash >> 32 & (kShards - 1); }

    Shards by_place_{kShards};
    Shards by_id_{kShards};
    std::shared_ptr<const Announced> announced_ = std::make_shared<const Announced>();
    std::size_t size_ = 0;  ///< services
};

/// Makes each picture of the one before. Main thread.
class ServicesBuilder {
public:
    using ZoneOf = std::function<Zone(const std::string& vrf)>;
    std::shared_ptr<const Services> build(const model::Config& config, const ZoneOf& zone_of);

private:
    using Objects = SharedMap<model::ServiceKey, model::Service>;

    Objects before_;
    std::map<std::string, Zone> zones_;  ///< of VRFs that services are in
    std::shared_ptr<const Services> built_ = std::make_shared<const Services>();
};

}  // namespace viaduct::dataplane
