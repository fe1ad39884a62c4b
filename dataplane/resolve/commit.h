// From what the stages decided to what is done: the flow's two records, and the packet itself.
#pragma once

#include "flow/flow_table.h"
#include "resolve/context.h"

namespace viaduct::dataplane {

/// The record of the packet's own direction, as decided; every sum of it computed.
template <typename Key>
FlowRecord<Key> make_record(const Context& context);
/// What the other direction's begins as: the translation is known, the way is not, so that its first packet
/// is resolved.
template <typename Key>
FlowRecord<Key> make_reverse(const Context& context, const FlowRecord<Key>& forward);

extern template FlowRecord<FlowKey4> make_record<FlowKey4>(const Context&);
extern template FlowRecord<FlowKey6> make_record<FlowKey6>(const Context&);
extern template FlowRecord<FlowKey4> make_reverse<FlowKey4>(const Context&, const FlowRecord<FlowKey4>&);
extern template FlowRecord<FlowKey6> make_reverse<FlowKey6>(const Context&, const FlowRecord<FlowKey6>&);

enum class Entered : std::uint8_t {
    yes,
    again,  ///< another worker was first, or the flow has gone meanwhile: resolve once more
    no,     ///< for Context::reason; ports that the packet took are given back
};

/// What a packet whose way is decided enters into the table.
template <typename Key>
struct Entry {
    FlowRecord<Key> record;   ///< the packet's own direction
    FlowRecord<Key> reverse;  ///< only of a new flow, and likewise below
    typename FlowTable<Key>::Places places;
};
/// Makes the records, and starts the loads of what entering them will touch.
template <typename Key>
void prepare_flow(const Context& context, Entry<Key>& entry);
/// Enters the flow's two directions, or replaces what is to be done with this one; context.flow names it
/// then, and context.translation may have got another port, and the entry with it. Not in a dry run.
template <typename Key>
Entered enter_flow(Context& context, Entry<Key>& entry);

extern template void prepare_flow<FlowKey4>(const Context&, Entry<FlowKey4>&);
extern template void prepare_flow<FlowKey6>(const Context&, Entry<FlowKey6>&);
extern template Entered enter_flow<FlowKey4>(Context&, Entry<FlowKey4>&);
extern template Entered enter_flow<FlowKey6>(Context&, Entry<FlowKey6>&);

/// Makes the packet what the record says, counts it and sends it: whole or, where it is too long for the way
/// out, in fragments. Takes the frame over.
template <typename Key>
void carry_out(Resolver& resolver, const Context& context, const FlowRecord<Key>& record);

extern template void carry_out<FlowKey4>(Resolver&, const Context&, const FlowRecord<FlowKey4>&);
extern template void carry_out<FlowKey6>(Resolver&, const Context&, const FlowRecord<FlowKey6>&);

}  // namespace viaduct::dataplane
