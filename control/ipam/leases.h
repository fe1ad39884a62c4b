// The built-in address management: one holder for each address of a segment (a bridge, or a VLAN of one),
// durable, and next-fit, so that an address that was given back rests until all the others had their turn.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "viaduct/attachment.h"

#include "ipam/used.h"
#include "store/database.h"

namespace viaduct::ipam {

/// No address could be given; `code` is attachment::kNoAddressLeft or kAddressRefused.
class Error : public std::runtime_error {
public:
    Error(unsigned code, const std::string& what) : std::runtime_error(what), code_(code) {}
    [[nodiscard]] unsigned code() const { return code_; }

private:
    unsigned code_;
};

const std::vector<store::Migration>& migrations();

/// What one attachment asks for.
struct Wish {
    std::string segment;  ///< where addresses must be unique
    std::string network;  ///< whose turn it is, for next-fit
    std::string holder;   ///< told to whoever asks for the same address
    std::vector<attachment::RangeSet> sets;
    std::vector<Prefix> exclude;
    std::vector<IpAddress> requested;
};

class Leases;

/// Addresses taken; they are given back when it goes without keep(). Outlives its transaction.
class Reservation {
public:
    Reservation(Leases& leases, std::string segment) : leases_(leases), segment_(std::move(segment)) {}
    ~Reservation();
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;

    [[nodiscard]] const std::vector<attachment::Address>& addresses() const { return addresses_; }
    void keep() { kept_ = true; }  ///< the transaction was committed

private:
    friend class Leases;
    Leases& leases_;
    std::string segment_;
    std::vector<attachment::Address> addresses_;
    bool kept_ = false;
};

/// Any thread. The tables are the truth; which addresses are held is kept in memory beside them.
class Leases {
public:
    explicit Leases(store::Database& database);

    /// One address of each set into `reservation` and, as rows, into `tx`. Throws Error; then nothing was
    /// taken.
    void take(store::Transaction& tx, const Wish& wish, Reservation& reservation);
    /// Takes the rows of `addresses` out of `tx`; call forget() once it was committed.
    static void release(store::Transaction& tx, const std::string& segment,
                        const std::vector<attachment::Address>& addresses);
    void forget(const std::string& segment, const std::vector<attachment::Address>& addresses);
    /// The same of all that a segment has, which is no more.
    static void release_all(store::Transaction& tx, const std::string& segment);
    void forget_all(const std::string& segment);
    /// The first range set that has no address left, in words; nothing when all have.
    [[nodiscard]] std::optional<std::string> exhausted(const Wish& wish) const;

private:
    friend class Reservation;
    std::optional<attachment::Address> requested_from(store::Transaction& tx, const Wish& wish,
                                                      std::size_t set, std::vector<bool>& taken) const;
    std::optional<attachment::Address> next_from(const Wish& wish, std::size_t set) const;
    [[nodiscard]] std::optional<IpAddress> free_between(const Wish& wish, const attachment::RangeSet& set,
                                                        const IpAddress& from, const IpAddress& to) const;

    mutable std::mutex mutex_;
    std::map<std::string, UsedAddresses> used_;                                    ///< by segment
    std::map<std::tuple<std::string, std::string, std::size_t>, IpAddress> last_;  ///< segment, network, set
};

}  // namespace viaduct::ipam
