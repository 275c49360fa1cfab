// Attention by what it computes: values first, then how pairs of a head are turned, then whole steps with a cache. The
// results of projections are what the sample gives, so that the operators between them may be any.
#include "Parts.h"

#include <algorithm>
#include <cmath>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;

/// Behind the usual sliding windows of 4096 tokens, and less where a graph's tables end before.
static constexpr int64_t kFar[] = {4200, 2100, 1050, 520, 260, 130, 63, 37};
/// Of a prompt, where a graph takes no cache.
static constexpr int64_t kMostRows = 260;

/// The ways in which the projections that `output` reads may hold queries, keys and values.
Result<std::vector<AttentionFinder::Roles>> AttentionFinder::candidates(const Projection &output) const {
  Projections::Sources sources = projections.sources(graph, output.input);
  std::vector<const Projection *> made;
  for (const std::string &name : sources.projections)
    made.push_back(projections.make(name));
  int64_t width = output.weight.k; // of the queries
  std::vector<Roles> out;
  auto whole = [](const Projection *from) { return Piece{from, 0, from->weight.n}; };
  if (made.size() == 1 && made[0]->weight.n > width && (made[0]->weight.n - width) % 2 == 0) {
    int64_t rest = (made[0]->weight.n - width) / 2;
    out.push_back({{made[0], 0, width}, {made[0], width, rest}, {made[0], width + rest, rest}});
  } else if (made.size() == 2) {
    for (size_t i = 0; i < 2; ++i)
      if (int64_t rest = made[1 - i]->weight.n; made[i]->weight.n == width && rest % 2 == 0)
        out.push_back({whole(made[i]), {made[1 - i], 0, rest / 2}, {made[1 - i], rest / 2, rest / 2}});
  } else if (made.size() == 3) {
    for (size_t i = 0; i < 3; ++i)
      for (size_t j : {(i + 1) % 3, (i + 2) % 3})
        if (size_t k = 3 - i - j; made[i]->weight.n == width && made[j]->weight.n == made[k]->weight.n)
          out.push_back({whole(made[i]), whole(made[j]), whole(made[k])});
  }
  if (out.empty())
    return graph.wrong("node " + output.node->describe(),
                            "should be the last product of attention, but its input is not made of the products for "
                            "queries of " +
                                std::to_string(width) + " columns, keys and values");
  return out;
}

AttentionFinder::Step AttentionFinder::draw(const Roles &roles, int64_t past, int64_t rows) {
  Step step{past, rows, {}, {}, {}, weightOf(roles.queryNorm), weightOf(roles.keyNorm), {}, {}};
  step.query = samples.draw({1, rows, roles.query.count});
  step.key = samples.draw({1, rows, roles.key.count});
  step.value = samples.draw({1, rows, roles.value.count});
  step.pastKey = samples.draw({1, layout.kvHeads, past, layout.size});
  step.pastValue = samples.draw({1, layout.kvHeads, past, layout.size});
  return step;
}

/// The input of `output` in that step.
Result<Array> AttentionFinder::run(const Projection &output, const Roles &roles, const Step &step) {
  QUERN_ASSIGN(auto values, inputs(step));
  for (auto [piece, part] :
       {std::pair(&roles.query, &step.query), std::pair(&roles.key, &step.key), std::pair(&roles.value, &step.value)}) {
    Array &whole = values[piece->projection->output];
    int64_t width = piece->projection->weight.n;
    if (whole.shape.empty())
      whole = {{1, step.rows, width}, std::vector<double>(static_cast<size_t>(step.rows * width)), false};
    for (int64_t row = 0; row < step.rows; ++row)
      std::copy_n(part->data.data() + row * piece->count, piece->count, whole.data.data() + row * width + piece->first);
  }
  Evaluator evaluator(graph, projections.surroundings(), std::move(values));
  auto made = evaluator.get(output.input);
  if (!made) {
    if (firstProblem.empty())
      firstProblem = made.error().message;
    return tl::unexpected(made.error());
  }
  return **made;
}

/// One token alone attends to itself: what comes out is its value, the same for all heads that share it.
bool AttentionFinder::passesValues(const Projection &output, const Roles &roles) {
  Step step = draw(roles, 0, 1);
  auto made = run(output, roles, step);
  std::vector<double> wanted;
  for (int64_t h = 0; h < layout.heads; ++h) {
    int64_t from = h / (layout.heads / layout.kvHeads) * layout.size;
    wanted.insert(wanted.end(), step.value.data.begin() + from, step.value.data.begin() + from + layout.size);
  }
  return made && isClose(*made, wanted, 1e-5);
}

namespace {
/// An element of a head that is 0 elsewhere, and what it is behind the norm; the same where there is none.
struct Element {
  double before = 1, after = 1;
};
} // namespace

/// Of a norm with that weight, one that is at most 1: x / sqrt(x^2 / size + epsilon) * weight, solved for x.
static Element elementOf(const std::vector<float> &norm, size_t i, double epsilon) {
  if (norm.empty())
    return {};
  double weight = double(norm[i]), size = double(norm.size());
  double after = std::min(1.0, std::fabs(weight) * std::sqrt(size) / 2);
  double before = after * std::sqrt(epsilon / (weight * weight - after * after / size));
  return {before, std::copysign(after, weight)};
}

/// Cosine and sine of the angle by which a pair is turned from one position to the next: the score of a query that is
/// one of the pair's elements, and a key, one position before, that is the first and then the second of them. The key
/// of the query's own position is 0, the values are 1 and 0, so that the result is the logistic function of the score.
Result<std::pair<double, double>> AttentionFinder::turn(const Projection &output, const Roles &roles, int64_t first,
                                                        int64_t second) {
  double scores[2];
  for (int i = 0; i < 2; ++i) {
    Step step = draw(roles, 0, 2);
    for (Array *part : {&step.query, &step.key, &step.value})
      std::ranges::fill(part->data, 0);
    int64_t other = i == 0 ? first : second;
    Element query = elementOf(step.queryNorm, size_t(first), epsilon);
    Element key = elementOf(step.keyNorm, size_t(other), epsilon);
    for (int64_t h = 0; h < layout.heads; ++h)
      step.query.data[size_t((layout.heads + h) * layout.size + first)] = query.before;
    for (int64_t h = 0; h < layout.kvHeads; ++h)
      step.key.data[size_t(h * layout.size + other)] = key.before;
    std::fill_n(step.value.data.begin(), roles.value.count, 1);
    QUERN_ASSIGN(Array made, run(output, roles, step));
    if (made.size() != 2 * roles.query.count)
      return fail("its result has another size");
    double weight = made.data[size_t(roles.query.count)];
    scores[i] = std::log(weight / (1 - weight)) * std::sqrt(double(layout.size)) / (query.after * key.after);
  }
  return std::pair(scores[0], scores[1]);
}

/// Which elements are pairs, and by which angles they are turned.
bool AttentionFinder::findPairing(const Projection &output, const Roles &roles) {
  int64_t pairs = layout.size / 2;
  for (bool interleaved : {false, true}) {
    layout.interleaved = interleaved;
    layout.frequencies.clear();
    for (int64_t i = 0; i < pairs; ++i) {
      auto turned = interleaved ? turn(output, roles, 2 * i, 2 * i + 1) : turn(output, roles, i, i + pairs);
      if (!turned)
        return false;
      auto [cosine, sine] = *turned;
      if (!(std::fabs(cosine * cosine + sine * sine - 1) < 5e-3))
        break;
      layout.frequencies.push_back(std::atan2(sine, cosine));
    }
    if (int64_t(layout.frequencies.size()) == pairs)
      return true;
  }
  return false;
}

/// x * weight / sqrt(mean(x^2) + epsilon); `x` itself without a weight.
static void normHead(std::vector<double> &x, const std::vector<float> &weight, double epsilon) {
  if (weight.empty())
    return;
  double squares = 0;
  for (double one : x)
    squares += one * one;
  for (size_t i = 0; i < x.size(); ++i)
    x[i] *= double(weight[i]) / std::sqrt(squares / double(x.size()) + epsilon);
}

/// What attention should give: keys are normed, if heads are, and turned before they go into the cache; each token sees
/// itself and all before.
std::vector<double> AttentionFinder::expected(const Step &step) const {
  int64_t D = layout.size, G = layout.kvHeads, A = layout.heads;
  auto turned = [&](const Array &from, const std::vector<float> &norm, int64_t row, int64_t heads, int64_t h) {
    std::vector<double> out(from.data.begin() + (row * heads + h) * D, from.data.begin() + (row * heads + h + 1) * D);
    normHead(out, norm, epsilon);
    for (int64_t i = 0; i < D / 2; ++i) {
      double angle = double(step.past + row) * layout.frequencies[size_t(i)];
      double &x = out[size_t(layout.interleaved ? 2 * i : i)];
      double &y = out[size_t(layout.interleaved ? 2 * i + 1 : i + D / 2)];
      std::tie(x, y) = std::pair(x * std::cos(angle) - y * std::sin(angle), y * std::cos(angle) + x * std::sin(angle));
    }
    return out;
  };
  std::vector<double> out;
  for (int64_t row = 0; row < step.rows; ++row)
    for (int64_t h = 0; h < A; ++h) {
      int64_t g = h / (A / G);
      std::vector<double> query = turned(step.query, step.queryNorm, row, A, h), sums(size_t(D), 0);
      double total = 0;
      for (int64_t j = 0; j <= step.past + row; ++j) {
        bool old = j < step.past;
        auto before = [&](const Array &cache) { return cache.data.begin() + (g * step.past + j) * D; };
        std::vector<double> key = old ? std::vector<double>(before(step.pastKey), before(step.pastKey) + D)
                                      : turned(step.key, step.keyNorm, j - step.past, G, g);
        double dot = 0;
        for (int64_t d = 0; d < D; ++d)
          dot += query[size_t(d)] * key[size_t(d)];
        double weight = std::exp(dot / std::sqrt(double(D)));
        total += weight;
        for (int64_t d = 0; d < D; ++d)
          sums[size_t(d)] +=
              weight * (old ? before(step.pastValue)[d] : step.value.data[size_t(((j - step.past) * G + g) * D + d)]);
      }
      for (double sum : sums)
        out.push_back(sum / total);
    }
  return out;
}

/// Whether a table of cosines, or of a mask, has no row for a position.
static bool isEndOfTable(const Error &error) {
  return std::ranges::any_of(std::array{kNoCosines, kBeyondAxis, kUnfitSizes}, [&](const char *what) {
    return error.message.find(what) != std::string::npos;
  });
}

/// One token so far on that usual sliding windows leave keys out, or as far as the graph can go. Coarse tables cannot
/// tell the angles of far positions: there the query is 0, which gives the mean of all values that it sees.
Status AttentionFinder::checkFar(const Projection &output, const Roles &roles) {
  std::string problem;
  for (int64_t far : kFar) {
    if (caches.empty() && far > kMostRows)
      continue;
    Step step = caches.empty() ? draw(roles, 0, far) : draw(roles, far, 1);
    if (layout.coarse)
      std::ranges::fill(step.query.data, 0);
    if (auto made = run(output, roles, step)) { // errors of f32 angles are as many times larger
      if (isClose(*made, expected(step), layout.coarse ? 1e-5 : 3e-2))
        return {};
      return graph.wrong("node " + output.node->describe(),
                              "its attention does not see all tokens of a long context; sliding windows and rotary "
                              "embeddings that change with the length are not supported");
    } else {
      problem = made.error().message;
      if (!isEndOfTable(made.error()))
        break;
    }
  }
  return graph.wrong("node " + output.node->describe(),
                          "its attention cannot be computed for a long context (" + problem + ")");
}

/// Whole steps: a prompt, more of it, one token, and tokens far on.
Status AttentionFinder::check(const Projection &output, const Roles &roles) {
  if (roles.query.count != layout.heads * layout.size || roles.key.count != layout.kvHeads * layout.size)
    return fail("its heads are others than those of the other layers");
  for (auto [past, rows] : {std::pair(0, 3), std::pair(2, 3), std::pair(3, 1), std::pair(37, 2)}) {
    if (caches.empty() && past > 0)
      continue;
    Step step = draw(roles, past, rows);
    QUERN_ASSIGN(Array made, run(output, roles, step));
    if (!isClose(made, expected(step), layout.coarse ? 2e-2 : 1e-4))
      return fail("a sample of " + std::to_string(rows) + " tokens behind " + std::to_string(past) + " differs");
  }
  return {};
}
