"""Makes small random-weight models for a test, with python/make_test_model.py."""
import subprocess
from pathlib import Path

from quern_py.random_blocks import TYPES as FORMATS

MAKER = Path(__file__).resolve().parents[2] / "python" / "make_test_model.py"


def write_model(path, *flags):
    """Writes a GGUF file at `path`; `flags` are the maker's."""
    subprocess.run(["/usr/bin/python3", MAKER, path, *flags], check=True)
    return path
