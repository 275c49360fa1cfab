// Asks a Quern package a question: embed MODEL.quern "question"
#include <cstdio>
#include <quern/quern.hpp>

using namespace quern::api;

int main(int argc, char **argv) try {
  if (argc != 3) {
    std::fputs("usage: embed MODEL.quern \"question\"\n", stderr);
    return 2;
  }
  Model model = Model::open(argv[1]).value();
  Session session = model.session().value();
  Sampler sampler = model.sampler().value();
  Decoder decoder = model.decoder().value();
  Message question{"user", argv[2]};
  session.prefill(model.chat({&question, 1}).value()).value();
  while (session.position() < session.contextLength()) {
    int32_t token = sampler.sample(session).value();
    if (model.endsGeneration(token))
      break;
    std::string_view text = decoder.push(token).value();
    std::fwrite(text.data(), 1, text.size(), stdout);
    session.decode(token).value();
  }
  std::puts("");
} catch (const std::bad_expected_access<Failure> &failure) {
  std::fprintf(stderr, "embed: %s\n", failure.error().message.c_str());
  return 1;
}
