// Candidates and weights are those of the reference encoders; other choices give other bytes. MXFP6, which GGUF
// does not have, is rounded as the OCP specification of microscaling formats says.
#include "Method.h"

using namespace quern::quantize;

static constexpr GroupMethod kWeightedMinimum = {Search::Minimum, Weighting::Scaled, {-0.9f, 0.05f, 36, false}};
static constexpr GroupMethod kWeightedSymmetric = {Search::Symmetric, Weighting::Scaled, {}};
static constexpr GroupMethod kByte = {Search::RoundToByte, Weighting::Square, {}};
static constexpr GroupMethod kPower = {Search::PowerOfTwo, Weighting::Square, {}};
static constexpr GroupMethod kPowerToEven = {Search::PowerOfTwoToEven, Weighting::Square, {}};
static constexpr GroupMethod kTable = {Search::Table, Weighting::Square, {}};
static constexpr GroupMethod kWeightedTable = {Search::Table, Weighting::Scaled, {}};

static constexpr GroupMethod minimum(Weighting weighting, Candidates candidates) {
  return {Search::Minimum, weighting, candidates};
}

static constexpr Method kMethods[] = {
    {"q8_0", 0, kByte, kByte},
    {"mxfp4", 0, kPower, kPower},
    {"mxfp6_e2m3", 0, kPowerToEven, kPowerToEven},
    {"mxfp6_e3m2", 0, kPowerToEven, kPowerToEven},
    {"q4_0", 8, {Search::ExtremeFirst}, kWeightedSymmetric, 1, true},
    {"q5_0", 16, {Search::ExtremeFirst}, kWeightedSymmetric, 1, true},
    {"q4_1", 15, {Search::FullRange}, kWeightedMinimum, 1, true},
    {"q5_1", 31, {Search::FullRange}, kWeightedMinimum, 1, true},
    {"q2_K", 3, minimum(Weighting::Magnitude, {-0.5f, 0.1f, 15, true}), kWeightedMinimum, 1, false, SuperMethod::Linear,
     15},
    {"q3_K", 4, {Search::Descent}, kWeightedSymmetric, 2, false, SuperMethod::Signed, 32},
    {"q4_K", 15, minimum(Weighting::RmsMagnitude, {-1.0f, 0.1f, 20, false}), kWeightedMinimum, 2, false,
     SuperMethod::Linear, 63},
    {"q5_K", 31, minimum(Weighting::RmsMagnitude, {-0.5f, 0.1f, 15, false}), kWeightedMinimum, 2, false,
     SuperMethod::Linear, 63},
    {"q6_K", 32, {Search::Symmetric}, {Search::Symmetric, Weighting::Importance}, 0, false, SuperMethod::Signed, 128},
    {"iq4_nl", 0, kTable, kWeightedTable, 2, false},
    {"iq4_xs", 0, kTable, kWeightedTable, 2, false, SuperMethod::Table, 32},
};

const Method *quern::quantize::findMethod(std::string_view format) {
  for (const Method &method : kMethods)
    if (method.format == format)
      return &method;
  return nullptr;
}
