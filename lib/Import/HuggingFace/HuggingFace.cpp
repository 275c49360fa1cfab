#include "quern/Import/HuggingFace.h"
#include "Parts.h"

using namespace quern;
using namespace quern::import;

Result<gguf::File> import::openHuggingFace(const std::string &folder, const gguf::TypeTable &types) {
  QUERN_ASSIGN(HuggingFaceConfig config, readHuggingFaceConfig(folder));
  QUERN_ASSIGN(safetensors::Checkpoint checkpoint, safetensors::Checkpoint::open(folder));
  gguf::Assembly assembly(folder);
  if (config.model.architecture == "llama")
    assembly.setHeadsInHalves();
  QUERN_ASSIGN(uint32_t typeId, addTensors(assembly, folder, std::move(checkpoint), config, types));
  addModelKeys(assembly, config, typeId);
  QUERN_TRY(addTokenizer(assembly, folder, config));
  return std::move(assembly).finish(types);
}
