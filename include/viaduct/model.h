// The objects of a node's network, as control stores them and as the dataplane is told them. One set of types
// and one JSON form for both: what a person configures, what is kept, and what goes over the dataplane's
// socket.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/fault.h"
#include "viaduct/routing_model.h"
#include "viaduct/service_model.h"
#include "viaduct/shared_map.h"

namespace Json {
class Value;
}

namespace viaduct::model {

inline constexpr std::uint16_t kVlanFirst = 1;
inline constexpr std::uint16_t kVlanLast = 4094;  ///< IEEE 802.1Q: 0 and 4095 are reserved
inline constexpr std::uint16_t kDefaultVlan = 1;
inline constexpr std::uint32_t kMtuLeast = 68;  ///< RFC 791: every link carries this
inline constexpr std::uint32_t kMtuMost = 9216;
inline constexpr std::uint32_t kMtuLeast6 = 1280;    ///< RFC 8200 5: every link that carries IPv6
inline constexpr std::uint32_t kVniMost = 0xffffff;  ///< RFC 7348 5
inline constexpr std::size_t kNextHopsMost = 64;
inline constexpr std::size_t kSocketPathMost = 107;  ///< sun_path less its terminating NUL
inline constexpr std::size_t kNameMost = 63;

/// Names of bridges and ports: 1 to 63 of letters, digits, '_', '.', '-', not starting with '-' or '.'.
bool is_name(std::string_view text);
/// Names of kernel interfaces: 1 to 15 bytes, not "." or "..", no '/', ':' or white space.
bool is_interface_name(std::string_view text);

/// A learning switch (IEEE 802.1Q clause 8 where vlan_filtering is on; otherwise tags are payload), or a
/// wire.
struct Bridge {
    std::string name;
    /// What comes in by one port leaves by the other, whatever it is. Two ports at most, no VLAN filtering,
    /// no FDB entries, no interfaces.
    bool wire = false;
    bool vlan_filtering = false;
    bool learning = true;
    std::uint32_t ageing_seconds = 300;  ///< 10..1000000; the standard's default
    std::uint32_t fdb_size = 8192;       ///< most entries, 64..1048576
    friend bool operator==(const Bridge&, const Bridge&) = default;
};

/// An inclusive range of VLAN ids.
struct VlanRange {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
    friend auto operator<=>(const VlanRange&, const VlanRange&) = default;
};

/// A port's place on a VLAN-filtering bridge. Access port: `untagged` only. Trunk: `tagged` ranges, and
/// `untagged` as the native VLAN when not 0.
struct VlanMembership {
    std::uint16_t untagged =
        kDefaultVlan;               ///< VLAN of untagged frames both ways; 0: untagged frames are dropped
    std::vector<VlanRange> tagged;  ///< sorted, disjoint
    friend bool operator==(const VlanMembership&, const VlanMembership&) = default;
};

enum class PortKind : std::uint8_t {
    vhost_user,  ///< a guest or DPDK application over a vhost-user socket
    tap,         ///< a kernel interface in a network namespace
    wire,        ///< in-process, for tests; not accepted over the API
    uplink,      ///< an Ethernet device of DPDK's: a PCI device or a virtual one
    vxlan,       ///< a tunnel's end (RFC 7348): frames leave the bridge by it wrapped in UDP
};

struct VhostUser {
    std::string path;                    ///< socket, absolute, at most 107 bytes
    bool server = false;                 ///< true: the dataplane listens; false: it connects and reconnects
    std::optional<std::uint32_t> mode;   ///< of the socket when server, default 0660
    std::optional<std::uint32_t> owner;  ///< numeric user id
    std::optional<std::uint32_t> group;  ///< numeric group id
    friend bool operator==(const VhostUser&, const VhostUser&) = default;
};

struct Tap {
    std::string ifname;  ///< name of the interface in its namespace
    std::string netns;   ///< path of the namespace; empty: the dataplane's own
    std::uint64_t netns_inode =
        0;  ///< when not 0, the namespace must have this inode, so that a reused path is found out
    friend bool operator==(const Tap&, const Tap&) = default;
};

/// How several devices make one port (IEEE 802.1AX; the modes' names are Linux's).
enum class Bonding : std::uint8_t {
    active_backup,  ///< one carries everything until its link goes
    lacp,           ///< "802.3ad": the devices that the neighbour agrees on (LACP)
    balance_xor,    ///< all that have a link, a flow by one; the neighbour is set to the same by hand
};
inline constexpr std::size_t kBondLeast = 2;
inline constexpr std::size_t kBondMost = 8;
inline constexpr std::size_t kFilterMost = 64;  ///< MAC addresses that one uplink filters by

struct Uplink {
    /// PCI address, or a virtual device with its arguments ("net_af_packet0,iface=eth1"); empty: `members`
    std::string device;
    std::vector<std::string> members;  ///< kBondLeast to kBondMost, each written as `device` is
    Bonding bond = Bonding::active_backup;
    bool gro = false;  ///< segments of one TCP connection that come in together go on as one
    /// false: of what is for single stations only that for filter_of() comes in; nobody but the router and
    /// the host is on its bridge.
    bool promiscuous = true;
    std::string netns;  ///< path of the namespace that kernel interfaces are in; empty: the dataplane's own
    friend bool operator==(const Uplink&, const Uplink&) = default;
};

/// The devices an uplink stands on: one, or its members.
std::vector<std::string> devices_of(const Uplink& uplink);
/// What nobody else can have of them: "device 0000:03:00.0", "interface eth1 in namespace /run/x".
std::vector<std::string> places_of(const Uplink& uplink);
/// The address in full and in lower case ("0000:03:00.0"), where `device` (with arguments or without) is one.
std::optional<std::string> parse_pci_address(std::string_view device);
/// The kernel interface that a virtual device's arguments name ("iface=eth1"); empty: none.
std::string device_interface(std::string_view device);

struct Vxlan {
    std::uint32_t vni = 0;                       ///< 1..16777215
    IpAddress local;                             ///< own tunnel end: an address of an interface of `vrf`
    std::string vrf = std::string(kDefaultVrf);  ///< whose routes lead to the remotes
    std::vector<IpAddress>
        remotes;  ///< peers: what must flood goes to each; from nobody else anything is taken
    std::uint16_t udp_port = 4789;
    std::uint8_t ttl = 64;      ///< of the outer header, 1..255
    bool udp_checksum = false;  ///< over IPv4; over IPv6 it is always sent
    friend bool operator==(const Vxlan&, const Vxlan&) = default;
};

/// A token bucket.
struct RateLimit {
    std::uint64_t rate = 0;   ///< bits a second, 0: no limit; else 8000..1e12
    std::uint32_t burst = 0;  ///< bytes, up to 1 GiB; 0: 10 ms of the rate, at least 16 KiB
    friend bool operator==(const RateLimit&, const RateLimit&) = default;
};
inline constexpr std::size_t kGuardMost = 256;  ///< addresses of a kind that a port may send from
inline constexpr std::uint64_t kRateLeast = 8000;
inline constexpr std::uint64_t kRateMost = 1'000'000'000'000;
inline constexpr std::uint32_t kBurstMost = 1U << 30U;

/// What alone a port may send from. For its link-local address nothing need be said.
struct Guard {
    std::vector<MacAddress> macs;   ///< at least one
    std::vector<Prefix> addresses;  ///< none: any
    friend bool operator==(const Guard&, const Guard&) = default;
};

struct Port {
    std::string name;
    PortKind kind = PortKind::vhost_user;
    std::string bridge;             ///< empty: attached to nothing; its frames are dropped by name
    bool up = true;                 ///< administrative state
    std::uint32_t mtu = 1500;       ///< payload bytes after the Ethernet header and one VLAN tag; 68..9216
    std::uint16_t queues = 1;       ///< queue pairs, 1..16
    std::optional<MacAddress> mac;  ///< tap: the interface's address; others: for show
    std::optional<VlanMembership>
        vlan;                     ///< only on a vlan_filtering bridge; absent there: access port of VLAN 1
    std::uint32_t fdb_limit = 0;  ///< most learned entries of this port; 0: the bridge's size
    std::optional<Guard> guard;   ///< absent: it is trusted
    /// tap: the router interface that the host shares by this port (its addresses and its MAC address);
    /// empty: none. On the interface's bridge and VLAN, untagged.
    std::string host;
    RateLimit rx_limit;  ///< of what comes in from the port
    RateLimit tx_limit;  ///< of what leaves by it
    VhostUser vhost;     ///< kind vhost_user
    Tap tap;             ///< kind tap
    Uplink uplink;       ///< kind uplink
    Vxlan vxlan;         ///< kind vxlan
    friend bool operator==(const Port&, const Port&) = default;
};

/// A static FDB entry.
struct FdbEntry {
    std::string bridge;
    std::uint16_t vlan = 0;  ///< 0 on a bridge without VLAN filtering
    MacAddress mac;
    std::string port;
    std::optional<IpAddress> remote;  ///< on a vxlan port: the peer behind which the address is
    [[nodiscard]] auto key() const { return std::tie(bridge, vlan, mac); }
    friend bool operator==(const FdbEntry&, const FdbEntry&) = default;
};

/// Objects of one kind that have names.
template <typename Object>
using Named = SharedMap<std::string, Object>;

/// A whole set of objects, by name. Copies share what they have in common.
struct Config {
    Named<Bridge> bridges;
    Named<Port> ports;
    SharedMap<std::tuple<std::string, std::uint16_t, MacAddress>, FdbEntry> fdb;
    Named<Vrf> vrfs;
    Named<Interface> interfaces;
    SharedMap<std::tuple<std::string, Prefix>, Route> routes;
    SharedMap<std::tuple<std::string, IpAddress>, Neighbour> neighbours;
    Named<Masquerade> masquerades;
    Named<PortForward> port_forwards;
    Named<StaticNat> static_nats;
    SharedMap<ServiceKey, Service> services;
    FlowTimeouts timeouts;
    friend bool operator==(const Config&, const Config&) = default;
};

/// A difference: objects to create or replace, and names to delete. Deleting what is not there is a fault in
/// a transaction. One object may not be both put and deleted.
struct Change {
    Config put;  ///< its `timeouts` are not looked at: see put_timeouts
    std::map<std::string, std::uint32_t> put_timeouts;  ///< by their JSON keys; those not named stay
    std::set<std::string> delete_bridges;
    std::set<std::string> delete_ports;
    std::set<std::tuple<std::string, std::uint16_t, MacAddress>> delete_fdb;
    std::set<std::string> delete_vrfs;
    std::set<std::string> delete_interfaces;
    std::set<std::tuple<std::string, Prefix>> delete_routes;
    std::set<std::tuple<std::string, IpAddress>> delete_neighbours;
    std::set<std::string> delete_masquerades;
    std::set<std::string> delete_port_forwards;
    std::set<std::string> delete_static_nats;
    std::set<ServiceKey> delete_services;
    [[nodiscard]] bool empty() const;
};

/// `config` with `change` applied; faults (in the order found) where the change names what is not there.
Config apply(const Config& config, const Change& change, Faults& faults);
/// The same in place. With faults `config` is neither as it was nor as it should be.
void apply_to(Config& config, const Change& change, Faults& faults);
/// The change that turns `from` into `to`.
Change difference(const Config& from, const Config& to);
/// What can be wrong between objects (and inside one, where it takes more than its keys' types and ranges):
/// unknown bridges, VRFs and interfaces, places that two objects claim, networks that overlap, next hops that
/// cannot be reached. Each fault's place starts with the object ("interfaces/gw0/addresses"). `sound`:
/// another configuration, in which nothing is wrong; routes that it has are not looked at again where they
/// cannot have come to be wrong.
void check(const Config& config, Faults& faults, const Config* sound = nullptr);

/// The MAC address that a port's device is to have: the configured one, or that of the interface which the
/// host shares by it. Nothing: its own.
std::optional<MacAddress> mac_of(const Config& config, const Port& port);

/// The MAC addresses that an uplink without promiscuity takes frames for: those of the router's interfaces on
/// its bridge and in its VLANs. Sorted, none twice.
std::vector<MacAddress> filter_of(const Config& config, const Port& uplink);

/// JSON. Keys are the members' names; what is absent has the member's default. Reading adds faults and leaves
/// out what was faulty; `where` is the place told ("ports/0").
Json::Value to_json(const Bridge& bridge);
Json::Value to_json(const Port& port);  ///< what the kind has beside it stands in the same object
Json::Value to_json(const FdbEntry& entry);
Json::Value to_json(const Vrf& vrf);
Json::Value to_json(const Interface& interface);
Json::Value to_json(const Route& route);
Json::Value to_json(const Neighbour& neighbour);
Json::Value to_json(const Masquerade& masquerade);
Json::Value to_json(const PortForward& forward);
Json::Value to_json(const StaticNat& nat);
Json::Value to_json(const Service& service);
Json::Value to_json(const FlowTimeouts& timeouts);
/// {"bridges": [...], "ports": [...], ..., "timeouts": {...}}: model_kinds.h lists the kinds.
Json::Value to_json(const Config& config);
/// {"put": {...}, "delete": {"bridges": [names], "fdb": [{"bridge", "vlan", "mac"}], "routes": [{"vrf",
/// "prefix"}], "neighbours": [{"interface", "address"}], ...}}
Json::Value to_json(const Change& change);
std::optional<Bridge> bridge_from_json(const Json::Value& json, const std::string& where, Faults& faults);
std::optional<Port> port_from_json(const Json::Value& json, const std::string& where, Faults& faults);
std::optional<FdbEntry> fdb_from_json(const Json::Value& json, const std::string& where, Faults& faults);
std::optional<Vrf> vrf_from_json(const Json::Value& json, const std::string& where, Faults& faults);
std::optional<Interface> interface_from_json(const Json::Value& json, const std::string& where,
                                             Faults& faults);
/// Also with one next hop's "via" and "interface" in place of "next_hops".
std::optional<Route> route_from_json(const Json::Value& json, const std::string& where, Faults& faults);
std::optional<Neighbour> neighbour_from_json(const Json::Value& json, const std::string& where,
                                             Faults& faults);
std::optional<Masquerade> masquerade_from_json(const Json::Value& json, const std::string& where,
                                               Faults& faults);
std::optional<PortForward> port_forward_from_json(const Json::Value& json, const std::string& where,
                                                  Faults& faults);
std::optional<StaticNat> static_nat_from_json(const Json::Value& json, const std::string& where,
                                              Faults& faults);
std::optional<Service> service_from_json(const Json::Value& json, const std::string& where, Faults& faults);
Config config_from_json(const Json::Value& json, const std::string& where, Faults& faults);
/// Also accepts "dry_run" and other top-level keys that `extra` names, unread.
Change change_from_json(const Json::Value& json, const std::string& where, Faults& faults,
                        const std::set<std::string>& extra = {});

/// The words of JSON and of the command line.
std::string_view to_string(PortKind kind);       ///< "vhost-user", "tap", "wire", "uplink", "vxlan"
std::string_view to_string(Bonding mode);        ///< "active-backup", "802.3ad", "balance-xor"
std::string_view to_string(ReversePath check);   ///< "off", "loose", "strict"
std::string_view to_string(RouteKind kind);      ///< "unicast", "blackhole", "unreachable", "prohibit"
std::string_view to_string(Transport protocol);  ///< "tcp", "udp", "sctp"
/// "10" or "20-29".
std::optional<VlanRange> parse_vlan_range(std::string_view text);
std::string to_string(const VlanRange& range);
/// As tc writes them: "100mbit", "1.5gbit", "64000"; bits a second. Nothing when it is no rate.
std::optional<std::uint64_t> parse_rate(std::string_view text);
/// "64k", "1m", "1500": bytes.
std::optional<std::uint64_t> parse_size(std::string_view text);
/// "10.0.0.1" or "10.0.0.1-10.0.0.9"; of one family and not backwards.
std::optional<AddressRange> parse_address_range(std::string_view text);
std::string to_string(const AddressRange& range);

}  // namespace viaduct::model
