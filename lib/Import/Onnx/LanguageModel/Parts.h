// The parts of a layer, each recognised by what it computes on samples between the places where the graph is cut.
#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_PARTS_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_PARTS_H

#include "LanguageModel.h"
#include "Projections.h"

#include <array>
#include <random>

namespace quern::import::language {

/// Numbers that look random, the same in every run.
class Samples {
public:
  Array draw(std::vector<int64_t> shape);

private:
  std::minstd_rand generator{1};
};

/// Whether all elements agree within `tolerance` times the largest of `wanted`.
bool isClose(const Array &made, std::span<const double> wanted, double tolerance);

/// The norm that makes `value`, and the value that it norms.
struct FoundNorm {
  Norm norm;
  std::string input, weight;
};
Result<FoundNorm> findNorm(const Graph &graph, const Projections &projections, const std::string &value,
                           int64_t hidden);

/// The same for a value that may be no norm at all. Without `hidden` the weight may have any width, but the number of
/// dimensions of what is normed must be known. The norm's names are those of its nodes alone, its input is as they have
/// it.
std::optional<FoundNorm> normOf(const Graph &graph, const Projections &projections, const std::string &value,
                                std::optional<int64_t> hidden);

/// Outputs `first` to `first + count` of a projection.
Linear rowsOf(const Graph &graph, const Projection &from, int64_t first, int64_t count);

/// The feed-forward part whose last projection is `down`.
struct FoundFeedForward {
  Linear gate, up;
  std::string input;
  Names nodes;                         ///< between the products
  std::array<std::string, 2> products; ///< outputs of those that gate and up are columns of
  std::array<int64_t, 2> columns;      ///< the first of them
};
Result<FoundFeedForward> findFeedForward(const Graph &graph, const Projections &projections, const Projection &down);

/// What attention computes, as a text that is the same for two layers that compute the same of their projections and
/// caches; these are listed in the order in which the text has them. See Fingerprint.cpp.
struct Fingerprint {
  std::string text;
  std::vector<std::string> projections, caches, vectors; ///< vectors: constant, of floats, that the text does not hold
};
/// `rows`: values of which only the shape counts.
Fingerprint fingerprintOf(const Graph &graph, const Projections &projections, const std::string &value,
                          const std::set<std::string> &parts, const std::vector<std::string> &caches,
                          const std::set<std::string> &rows);

/// The attention whose last projection is `output`. `layout` is found in the first layer that is asked for, and must be
/// the same in the others.
struct FoundAttention {
  Linear query, key, value;
  std::vector<float> queryNorm, keyNorm; ///< empty: heads are not normed
  std::string queryNormName, keyNormName, input;
  Names nodes;                         ///< between the products
  Names rotary;                        ///< nodes that compute cosines and sines, or tables of them
  std::array<std::string, 3> products; ///< outputs of those that queries, keys and values are columns of
  std::array<int64_t, 3> columns;      ///< the first of them
  std::vector<std::string> caches;     ///< inputs: of keys, of values
};
class AttentionFinder {
public:
  /// `epsilon`: of the model's norms, which those of heads must share.
  AttentionFinder(const Graph &graph, const Projections &projections, std::string tokenIds, std::string embedding,
                  int64_t hidden, double epsilon)
      : graph(graph), projections(projections), tokenIds(std::move(tokenIds)), embedding(std::move(embedding)),
        hidden(hidden), epsilon(epsilon) {}
  /// `stream`: the hidden state that the attention is added to.
  Result<FoundAttention> find(const Projection &output, const std::string &stream);

  HeadLayout layout;

private:
  /// Where the parts of one layer are in its projections.
  struct Piece {
    const Projection *projection;
    int64_t first, count; ///< columns of its output
  };
  struct Roles {
    Piece query, key, value;
    std::string queryNorm = {}, keyNorm = {}; ///< the weights' names; empty: heads are not normed
    std::array<Piece *, 3> all() { return {&query, &key, &value}; }
  };
  /// A layer whose roles are known, with what its inputs mean.
  struct Known {
    Fingerprint fingerprint;
    Roles roles;
    std::vector<int> meanings;
    bool cachesSwapped;
  };
  /// A step of `rows` tokens behind `past` ones.
  struct Step {
    int64_t past, rows;
    Array query, key, value; ///< [1, rows, width]
    std::vector<float> queryNorm, keyNorm;
    Array pastKey, pastValue; ///< [1, G, past, D]
  };

  Result<FoundAttention> raised(const Projection &output, const GraphNode &part);
  Status takeInputs(const Projection &output, const std::string &stream, const Projections::Sources &sources);
  Result<Roles> findRoles(const Projection &output);
  std::optional<Roles> rolesAs(const Known &known, const Fingerprint &fingerprint) const;
  Result<Roles> rolesOf(const Projection &output, Fingerprint fingerprint);
  Result<std::vector<Roles>> candidates(const Projection &output) const;
  std::vector<Roles> withNorms(const Roles &roles, int64_t size) const;
  std::vector<float> weightOf(const std::string &norm) const;
  Step draw(const Roles &roles, int64_t past, int64_t rows);
  Result<Array> run(const Projection &output, const Roles &roles, const Step &step);
  Result<std::map<std::string, Array>> inputs(const Step &step) const;
  bool passesValues(const Projection &output, const Roles &roles);
  bool findPairing(const Projection &output, const Roles &roles);
  Result<std::pair<double, double>> turn(const Projection &output, const Roles &roles, int64_t first, int64_t second);
  Status checkFar(const Projection &output, const Roles &roles);
  Status checkMask(const std::string &value) const;
  Status checkMasks(const Projection &output) const;
  Status check(const Projection &output, const Roles &roles);
  Result<Roles> findLayout(const Projection &output, const std::vector<Roles> &all);
  std::vector<double> expected(const Step &step) const;

  const Graph &graph;
  const Projections &projections;
  std::string tokenIds, embedding;
  int64_t hidden;
  double epsilon;
  Samples samples;
  std::set<std::string> constants;      ///< that the layer at hand is made of
  std::vector<std::string> others;      ///< inputs of whole numbers that the layer at hand needs
  std::vector<int> meanings;            ///< of each of `others`, in the order of their possible values
  std::vector<std::string> caches;      ///< inputs that hold keys and values, in the order of the graph
  std::vector<std::string> otherCaches; ///< those of other layers whose shapes tell how much is past
  std::set<std::string> rows;           ///< values of one row for each token of which only the shape counts
  std::vector<Known> known;             ///< layers that were looked at
  bool cachesSwapped = false;           ///< the second holds the keys
  std::string firstProblem;             ///< why the sample could not be computed
};

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_PARTS_H
