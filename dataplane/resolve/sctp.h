// SCTP's checksum is a CRC32c over the whole packet (RFC 9260 6.8): when a translation changes a port, it has
// to be made anew, which is why such flows stay with resolve (kFlowSlow). Addresses are no part of it.
#pragma once

#include "resolve/context.h"

namespace viaduct::dataplane {

/// Whether a translation changes what SCTP's checksum covers.
bool changes_sctp(const Packet& packet, const Translation& translation);

/// Whether the packet's checksum holds. To be asked before its ports are changed: a new one would hide that
/// it was damaged.
bool sctp_checksum_holds(const Packet& packet);

/// Writes the checksum of the packet as it now stands. False: the header is not in the first segment.
bool write_sctp_checksum(const Packet& packet);

}  // namespace viaduct::dataplane
