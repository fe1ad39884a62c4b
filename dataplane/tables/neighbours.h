// Which MAC address a next hop has: ARP's and neighbour discovery's cache in one, with the states of RFC 4861
// for both families, and the frames that wait for an answer.
//
// Shared by all workers. It lies off the fast path, for flows carry the MAC address themselves: only first
// packets, ARP and ND come here. So shards with a spinlock each, held for some hundred nanoseconds, do. Every
// shard is looked after by one worker, which calls due() about once a second. Nothing here reads a clock or
// sends: time comes in, what is to be sent and dropped goes out.
//
// All of it is bounded, for whoever scans a network makes entries: see NeighbourLimits.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "viaduct/address.h"

#include "flow/record.h"
#include "port/port.h"

struct rte_mbuf;

namespace viaduct::dataplane {

/// RFC 4861 7.3.2, and two more: what did not answer, and what was configured.
enum class NeighbourState : std::uint8_t {
    incomplete,  ///< asked for, not answered; frames wait
    reachable,   ///< answered lately
    stale,       ///< known, but not confirmed lately; used as it is
    delay,       ///< stale and used: soon to be probed
    probe,       ///< asked by unicast whether it is still there; used as it is
    failed,      ///< did not answer; asked for again when the next frame comes
    permanent,   ///< configured: never asked for, never forgotten
};
std::string_view to_string(NeighbourState state);

struct NeighbourKey {
    InterfaceIndex interface = 0;
    IpAddress address;
    friend bool operator==(const NeighbourKey&, const NeighbourKey&) = default;
};

struct NeighbourHash {
    std::uint64_t seed = 0;
    std::size_t operator()(const NeighbourKey& key) const;
};

/// A frame that waits for its next hop's address.
struct WaitingFrame {
    rte_mbuf* frame = nullptr;
    PortIndex from = 0;            ///< where it came in, or what provoked it; its drops are counted there
    InterfaceIndex interface = 0;  ///< to which it was delivered; originated: by which it leaves
    std::uint16_t l2_length = 0;   ///< bytes before the IP header
    bool originated = false;  ///< made by the node: complete but for its destination MAC; outside the ledger
};

struct NeighbourLimits {
    std::uint32_t entries = 16384;
    std::uint32_t entries_an_interface = 4096;
    std::uint32_t incomplete_an_interface = 1024;  ///< beyond it the oldest gives way
    std::uint32_t waiting_an_entry = 8;            ///< beyond it the oldest gives way (RFC 4861 7.2.2)
    std::uint32_t waiting = 1024;                  ///< of all entries together
};

/// Seconds. Defaults: RFC 4861 10.
struct NeighbourTimes {
    std::uint32_t reachable = 30;  ///< an entry's own is spread over 0.5 to 1.5 of it (RFC 4861 6.3.2)
    std::uint32_t retransmit = 1;
    std::uint32_t tries = 3;  ///< a count: MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT
    std::uint32_t delay = 5;
    std::uint32_t failed = 30;   ///< how long a failure is remembered, for people
    std::uint32_t stale = 1200;  ///< unused for so long: forgotten
    std::uint32_t lock = 1;      ///< least time between two changes of a MAC, so that nobody can make it flap
};

struct NeighbourCounters {
    std::uint64_t solicitations = 0;
    std::uint64_t failures = 0;     ///< entries that did not answer
    std::uint64_t evicted = 0;      ///< gave way to newer ones
    std::uint64_t refused = 0;      ///< nothing would give way
    std::uint64_t mac_changes = 0;  ///< of known entries
    std::uint64_t duplicates = 0;   ///< messages by which somebody claimed an own address
};

struct PermanentNeighbour {
    NeighbourKey key;
    MacAddress mac;
};

class Neighbours {
public:
    static constexpr std::uint32_t kShards = 64;

    /// `seed` makes shards and spread unpredictable, or repeatable.
    explicit Neighbours(std::uint64_t seed, NeighbourLimits limits = {}, NeighbourTimes times = {});
    ~Neighbours();  ///< frees the frames that still wait
    Neighbours(const Neighbours&) = delete;
    Neighbours& operator=(const Neighbours&) = delete;

    // --- any worker ---

    /// The MAC to send to, if there is one (also a stale one, or one being probed). Notes the use: an entry
    /// that was used under the flows' present generation is probed before it expires, since flows that carry
    /// its MAC do not ask again, and its change or failure has flows resolved anew.
    std::optional<MacAddress> find(const NeighbourKey& key, std::uint32_t now, std::uint32_t generation);

    struct Seen {
        NeighbourState state;
        MacAddress mac;  ///< zero where none is known
    };
    /// Only looks.
    [[nodiscard]] std::optional<Seen> peek(const NeighbourKey& key) const;

    enum class Asked : std::uint8_t {
        solicit,  ///< the frame waits, and the caller sends a solicitation now
        waits,    ///< asked already
        known,    ///< answered meanwhile: the frame is still the caller's
        refused,  ///< no room: the frame is still the caller's
    };
    /// Has `frame` wait for `key`. Frames that gave way to it are added to `dropped`, as the caller's.
    Asked ask(const NeighbourKey& key, const WaitingFrame& frame, std::uint32_t now,
              std::vector<WaitingFrame>& dropped);

    /// What a message tells about a neighbour (RFC 4861 7.2.3, 7.2.5; ARP in the same terms).
    struct Evidence {
        bool solicited = false;  ///< an answer to a question of ours: it is reachable now
        bool override = true;    ///< replaces another MAC that is known
        bool create = false;     ///< may make an entry: somebody who asks us is about to be answered
    };
    /// Frames that waited for it are added to `released`, as the caller's.
    void learn(const NeighbourKey& key, const MacAddress& mac, std::uint32_t now, Evidence evidence,
               std::vector<WaitingFrame>& released);

    struct Solicitation {
        NeighbourKey key;
        std::optional<MacAddress> to;  ///< unicast; nothing: to all, or to the solicited-node group
    };
    /// What is to be done with a shard now; for its own worker, about once a second.
    struct Work {
        std::vector<Solicitation> solicit;
        std::vector<WaitingFrame> unanswered;  ///< to be dropped, their senders told
        std::vector<WaitingFrame> released;    ///< to be resolved again
        void clear() {
            solicit.clear();
            unanswered.clear();
            released.clear();
        }
    };
    /// `since`: the oldest generation whose flows may still be executed.
    void due(std::uint32_t shard, std::uint32_t now, std::uint32_t since, Work& work);

    struct Duplicate {
        NeighbourKey key;    ///< the own address
        MacAddress claimer;  ///< who says that it is his
    };
    void note_duplicate(const Duplicate& duplicate);

    // --- main thread ---

    /// Those noted since it was last asked, for the log; of very many only some.
    std::vector<Duplicate> take_duplicates();
    /// When a new configuration is in force in all workers: entries of interfaces that do not exist go, and
    /// the permanent ones become exactly these.
    void configure(const std::function<bool(InterfaceIndex)>& exists,
                   const std::vector<PermanentNeighbour>& permanent);
    /// Whether, since it was last asked, a MAC that flows may carry changed or ceased to answer.
    bool take_changed() { return changed_.exchange(false, std::memory_order_relaxed); }

    // --- any thread ---

    struct Listed {
        NeighbourKey key;
        Seen seen;
        std::uint32_t confirmed = 0;  ///< coarse second of the last proof that it is there
        std::uint32_t used = 0;       ///< and of the last first packet to it
        std::uint32_t waiting = 0;    ///< frames
    };
    /// A copy, shard by shard: no lock is held while `visit` runs.
    void visit(const std::function<void(const Listed&)>& visit) const;
    /// Forgets learned entries for which `which` holds; it runs under a shard's lock. Returns how many.
    std::uint64_t remove_if(const std::function<bool(const NeighbourKey&)>& which);
    /// Frames from ports that wait, for the ledger.
    [[nodiscard]] std::uint32_t held() const { return held_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint32_t entries() const { return entries_.load(std::memory_order_relaxed); }
    [[nodiscard]] NeighbourCounters counters() const;
    [[nodiscard]] const NeighbourLimits& limits() const { return limits_; }

private:
    struct Entry {
        NeighbourState state = NeighbourState::incomplete;
        bool gone = false;  ///< its interface went, or it was flushed: erased when its frames are
        std::uint8_t tries = 0;
        MacAddress mac;
        std::uint32_t deadline = 0;    ///< of its state's next step
        std::uint32_t lifetime = 0;    ///< seconds that a proof is good for
        std::uint32_t confirmed = 0;   ///< reachable since
        std::uint32_t changed = 0;     ///< the MAC, or made
        std::uint32_t used = 0;        ///< second
        std::uint32_t generation = 0;  ///< of flows that may carry the MAC; 0: none
        std::vector<WaitingFrame> waiting;
    };
    using Entries = std::unordered_map<NeighbourKey, Entry, NeighbourHash>;
    struct Shard {
        mutable std::atomic_flag lock;  ///< spun on; unlike rte_spinlock the thread sanitizer sees it
        Entries entries;
    };
    struct Place {
        std::atomic<std::uint32_t> entries{0};
        std::atomic<std::uint32_t> incomplete{0};
    };
    struct DuplicateList {
        std::atomic_flag lock;
        std::vector<Duplicate> list;
    };
    class Guard;

    [[nodiscard]] Shard& shard_of(const NeighbourKey& key) const;
    Entry* make(Shard& shard, const NeighbourKey& key, NeighbourState state, std::uint32_t now,
                std::vector<WaitingFrame>& dropped);
    bool give_way(Shard& shard, const NeighbourKey& newcomer, NeighbourState state,
                  std::vector<WaitingFrame>& dropped);
    Entries::iterator worst(Shard& shard,
                            const std::function<bool(const NeighbourKey&, const Entry&)>& which);
    Entries::iterator erase(Shard& shard, Entries::iterator entry);
    void move(const NeighbourKey& key, Entry& entry, NeighbourState to);
    void confirm(const NeighbourKey& key, Entry& entry, std::uint32_t now);
    void doubt(const NeighbourKey& key, Entry& entry, std::uint32_t now);
    void replace_mac(Entry& entry, const MacAddress& mac, std::uint32_t now);
    void take_waiting(Entry& entry, std::vector<WaitingFrame>& into);
    void solicit(const NeighbourKey& key, Entry& entry, std::uint32_t now, Work& work);
    void step(const NeighbourKey& key, Entry& entry, std::uint32_t now, std::uint32_t since, Work& work);
    bool ends(Entry& entry, std::uint32_t now) const;
    void set_permanent(const PermanentNeighbour& neighbour);

    const NeighbourLimits limits_;
    const NeighbourTimes times_;
    const NeighbourHash hash_;
    std::unique_ptr<std::array<Shard, kShards>> shards_;
    std::unique_ptr<Place[]> places_;  ///< by InterfaceIndex
    std::atomic<std::uint32_t> entries_{0};
    std::atomic<std::uint32_t> waiting_{0};
    std::atomic<std::uint32_t> held_{0};
    std::atomic<bool> changed_{false};
    std::atomic<std::uint64_t> solicitations_{0};
    std::atomic<std::uint64_t> failures_{0};
    std::atomic<std::uint64_t> evicted_{0};
    std::atomic<std::uint64_t> refused_{0};
    std::atomic<std::uint64_t> mac_changes_{0};
    std::atomic<std::uint64_t> duplicates_{0};
    std::unique_ptr<DuplicateList> duplicate_list_;
};

}  // namespace viaduct::dataplane
