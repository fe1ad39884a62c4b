// An uplink's keys within its port's object.
#pragma once

#include "viaduct/json.h"
#include "viaduct/model.h"

namespace viaduct::model {

void read_uplink(ObjectReader& reader, Uplink& uplink);
void write_uplink(Json::Value& json, const Uplink& uplink);

}  // namespace viaduct::model
