// Fragments wait here for their others, so that what follows sees whole packets with ports. One object a
// worker. Bounded in datagrams and in frames: whoever floods loses his own fragments first.
//
// rte_ip_frag is not used for it: it takes at most eight fragments a packet, where a datagram of
// 64 KiB has 45, and frees what it refuses without saying whose it was and why.
//
// What is refused: fragments that overlap (RFC 5722; all of their datagram goes and stays gone), that reach
// past 65,535 bytes, whose ends contradict each other, and non-final ones smaller than any link makes them.
// Exact copies alone are dropped alone.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "viaduct/address.h"

#include "flow/key.h"
#include "forward/drop.h"
#include "forward/first_packets.h"

namespace viaduct::dataplane {

class Fragments {
public:
    static constexpr std::uint32_t kDatagramsMost = 256;
    /// Frames that one worker keeps of so many packet buffers: they are reserved for it.
    static constexpr std::uint32_t frames_most(std::uint32_t packet_buffers) {
        return std::min(packet_buffers / 16, 512U);
    }
    static constexpr std::uint32_t kPiecesMost = 64;  ///< a datagram
    static constexpr std::uint32_t kTimeout = 30;     ///< seconds, as Linux waits

    /// Whom to tell: a frame that is dropped (and taken over), and one that has become part of another.
    struct Told {
        std::function<void(PortIndex from, Drop why, rte_mbuf* frame)> dropped;
        std::function<void(PortIndex from)> merged;
    };
    explicit Fragments(std::uint32_t frames_most) : frames_most_(frames_most) {}
    ~Fragments();  ///< frees what waits, untold
    Fragments(const Fragments&) = delete;
    Fragments& operator=(const Fragments&) = delete;

    /// Takes a frame over that holds a fragment of IPv4 or IPv6, addresses of `zone`. Gives the whole packet
    /// back, as a chain, when this was its last one. `now` in seconds. IPv6 keeps its fragment header, which
    /// then says "all of it" (RFC 6946): the packet may be cut again, under the same identification.
    std::optional<RoutedFrame> add(const RoutedFrame& routed, Zone zone, bool from_host, std::uint32_t now,
                                   const Told& told);
    /// Drops what has waited too long. Cheap; to be called now and then.
    void expire(std::uint32_t now, const Told& told);
    /// Frames that wait. Any thread.
    [[nodiscard]] std::uint32_t held() const { return held_.load(std::memory_order_relaxed); }

private:
    struct Key {
        IpAddress source;
        IpAddress destination;
        std::uint32_t id = 0;
        std::uint8_t protocol = 0;  ///< IPv4 only (RFC 8200: IPv6 goes without)
        Zone zone = 0;
        bool from_host = false;  ///< nobody else's are taken for the host's
        friend bool operator==(const Key&, const Key&) = default;
    };
    struct Piece {
        rte_mbuf* frame;
        RoutedFrame routed;
        std::uint32_t offset;  ///< of its payload in the datagram's
        std::uint32_t length;
        std::uint16_t payload_at;   ///< where its payload begins in the frame
        std::uint16_t fragment_at;  ///< IPv6: where its fragment header begins in the frame
        bool more;
    };
    struct Datagram {
        bool used = false;
        bool spoiled = false;  ///< nothing more is kept of it
        Key key;
        std::uint64_t hash = 0;
        std::uint64_t order = 0;
        std::uint32_t since = 0;
        std::uint32_t total = 0;  ///< payload bytes, once the last fragment is here
        std::uint32_t bytes = 0;
        std::vector<Piece> pieces;  ///< by offset
    };

    static bool parse(const RoutedFrame& routed, Key& key, Piece& piece);
    static bool parse4(const RoutedFrame& routed, Key& key, Piece& piece);
    static bool parse6(const RoutedFrame& routed, Key& key, Piece& piece);
    /// False: the datagram is spoiled by this piece.
    static bool fits(const Datagram& datagram, const Piece& piece);
    static bool is_copy(const Datagram& datagram, const Piece& piece);
    Datagram& find_or_begin(const Key& key, PortIndex from, std::uint32_t now, const Told& told);
    Datagram* oldest(std::optional<PortIndex> from);
    bool make_room(PortIndex from, const Datagram& except, const Told& told);
    void drop_pieces(Datagram& datagram, Drop why, const Told& told);
    void hold(PortIndex from, int change);
    std::optional<RoutedFrame> assemble(Datagram& datagram, const Told& told);

    const std::uint32_t frames_most_;
    std::array<Datagram, kDatagramsMost> datagrams_;
    std::array<std::uint16_t, kPortsMost> held_of_port_{};
    std::atomic<std::uint32_t> held_{0};
    std::uint64_t order_ = 0;
};

class Resolver;

/// Drops what has waited too long; about once a second. (take_fragment: messages.h)
void expire_fragments(Resolver& resolver);

}  // namespace viaduct::dataplane
