#include "forward/execute.h"

namespace viaduct::dataplane::detail {

void trim(rte_mbuf* frame, std::uint32_t length) {
    auto* last = frame;
    std::uint32_t left = length;
    std::uint16_t segments = 1;
    for (; left > last->data_len; ++segments) {
        left -= last->data_len;
        last = last->next;
    }
    last->data_len = static_cast<std::uint16_t>(left);
    auto* rest = last->next;
    last->next = nullptr;
    frame->pkt_len = length;
    frame->nb_segs = segments;
    while (rest != nullptr) {
        auto* next = rest->next;
        rte_pktmbuf_free_seg(rest);
        rest = next;
    }
}

}  // namespace viaduct::dataplane::detail
