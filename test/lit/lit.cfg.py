# Tests of the dialects, passes and tools by text. Our tools and LLVM's FileCheck, not and split-file are on the path.
import os
import shutil

import lit.formats

config.name = "Quern"
config.test_format = lit.formats.ShTest(True)
config.suffixes = [".mlir", ".test"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.quern_obj_root
config.environment["PATH"] = os.pathsep.join(
    [config.quern_bin_dir, config.llvm_tools_dir, config.environment.get("PATH", "")])
config.environment["FILECHECK_OPTS"] = "--enable-var-scope"
config.substitutions.append(("%make-model", "/usr/bin/python3 " +
                             os.path.join(config.quern_src_root, "python", "make_test_model.py")))
python = os.pathsep.join(os.path.join(config.quern_src_root, *path) for path in (["python"], ["test", "python"]))
config.substitutions.append(("%python", f"env PYTHONPATH={python} /usr/bin/python3"))
config.substitutions.append(("%models", os.path.join(config.quern_src_root, "test", "models", "onnx")))
config.substitutions.append(("%root", config.quern_src_root))
config.substitutions.append(("%formats", os.path.join(config.quern_src_root, "dialects", "DQ", "formats")))

# Tests that need a tool or data which a build may lack ask for it by `REQUIRES:`.
for tool in ("quern-translate", "quern", "quern-compiler"):
    if os.path.exists(os.path.join(config.quern_bin_dir, tool)):
        config.available_features.add(tool)
for tool in ("ptxas", "spirv-val"):
    if shutil.which(tool, path=config.environment["PATH"]):
        config.available_features.add(tool)
