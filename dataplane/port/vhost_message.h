// Which messages of a vhost-user peer librte_vhost may carry out. It trusts the peer in some of them: that it
// gives a ring its size before its place, that it changes neither while the ring is used, and that memory can
// be mapped. A peer of which that is not true would make a worker read or write beside the shared memory,
// and end the dataplane for every pod.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace viaduct::dataplane {

/// The messages of one connection. Used by librte_vhost's thread alone, while it carries a message out:
/// librte_vhost holds the rings' locks then, for the messages that matter here.
class VhostMessages {
public:
    VhostMessages() = default;
    ~VhostMessages();
    VhostMessages(const VhostMessages&) = delete;
    VhostMessages& operator=(const VhostMessages&) = delete;

    /// A connection has begun.
    void begin();
    /// A message of device `vid` has come: librte_vhost's `pre_msg_handle`. Returns why it is refused, empty
    /// when it may be carried out. A refused one has changed nothing and its descriptors are closed; the
    /// caller ends the connection.
    std::string before(int vid, void* message);
    /// It was carried out: librte_vhost's `post_msg_handle`, which does not come after a failure. True when
    /// the memory may be another from now on.
    bool after(int vid, void* message);
    /// The connection is no more.
    void end();

private:
    /// Where a ring is, as the peer says (its own addresses), 0 before.
    struct Ring {
        std::uint64_t descriptors = 0;
        std::uint64_t available = 0;  ///< packed rings: the driver's event area
        std::uint64_t used = 0;       ///< packed rings: the device's event area
        bool sized = false;           ///< librte_vhost has made room for what is under way in it
    };
    /// The peer's own addresses of shared memory.
    struct Region {
        std::uint64_t begin;
        std::uint64_t size;
    };
    struct Mapping {
        void* begin;
        std::size_t size;
    };

    std::string check(int vid, const void* message);
    std::string check_memory(int vid, const void* message);
    std::string check_features(int vid, const void* message);
    std::string check_size(int vid, const void* message);
    std::string check_base(int vid, const void* message);
    std::string check_ring(int vid, std::uint16_t number, const Ring& ring,
                           const std::vector<Region>& memory) const;
    std::string hold(int file, std::uint64_t size);
    void release();
    Ring& ring(std::uint16_t number);

    std::vector<Ring> rings_;
    std::vector<Region> memory_;
    /// Mappings of what librte_vhost is about to map.
    std::vector<Mapping> held_;
    bool under_way_ = false;   ///< a message that changes memory or rings, of which after() has not come
    bool other_form_ = false;  ///< it turns split rings into packed ones, or back
};

}  // namespace viaduct::dataplane
