// The order in which a first packet is resolved: the network in one list.
#include "resolve/pipeline.h"

#include <array>

namespace viaduct::dataplane {

namespace {

constexpr std::array kPipeline{
    Stage{"sanity", stage_sanity},
    Stage{"connection", stage_connection},
    Stage{"destination", stage_destination},
    Stage{"host", stage_host},
    Stage{"route", stage_route},
    Stage{"local", stage_local},
    Stage{"isolation", stage_isolation},
    Stage{"reverse path", stage_reverse_path},
    Stage{"lifetime", stage_lifetime},
    Stage{"neighbour", stage_neighbour},
    Stage{"mtu", stage_mtu},
    Stage{"source", stage_source},
};

constexpr std::array kWithoutFlow{
    Stage{"host", stage_host},         Stage{"route", stage_route},
    Stage{"local", stage_local},       Stage{"isolation", stage_isolation},
    Stage{"lifetime", stage_lifetime}, Stage{"neighbour", stage_neighbour},
    Stage{"mtu", stage_mtu},
};

}  // namespace

std::span<const Stage> pipeline() {
    return kPipeline;
}

std::span<const Stage> pipeline_without_flow() {
    return kWithoutFlow;
}

Step run(std::span<const Stage> stages, Context& context) {
    for (const auto& stage : stages) {
        const auto step = stage.run(context);
        if (step != Step::go_on) return step;
    }
    return Step::go_on;
}

}  // namespace viaduct::dataplane
