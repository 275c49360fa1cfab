"""Reads what a model is made of: a package, or PTX and a program from files."""
import json
import struct
from dataclasses import dataclass
from pathlib import Path

from . import ModelError, ptx

# The inputs and outputs of a language model's step, where no manifest says them.
DEFAULT_MANIFEST = {
    "sizes": ["tokens", "outputs"],
    "inputs": [{"name": n} for n in ("token_ids", "positions", "caches", "cache_capacities", "output_rows")],
    "outputs": [{"name": "logits"}],
}
MOST_SECTIONS = 64


@dataclass
class Source:
    name: str  # for messages
    kernels: dict
    ptx_text: str
    program: dict
    manifest: dict


def read_bytes(path):
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None


def parse_json(data, what):
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{what} is no JSON: {str(error)[:100]}") from None
    if not isinstance(value, dict):
        raise ModelError(f"{what} is no JSON object")
    return value


def decode(data, what):
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ModelError(f"{what} is no PTX text") from None


def section_table(path):
    """Name -> (offset, bytes). Weights are never read."""
    try:
        size = Path(path).stat().st_size
        with open(path, "rb") as file:
            head = file.read(32 + 80 * MOST_SECTIONS)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    if len(head) < 32 or head[:8] != b"QUERNPKG":
        raise ModelError(f"{path} is no package: it does not begin with QUERNPKG")
    version, count, stated = struct.unpack_from("<IIQ", head, 8)
    if version != 1 or count > MOST_SECTIONS or stated != size or len(head) < 32 + 80 * count:
        raise ModelError(f"{path} is damaged or of another version: version {version}, {count} sections, {stated} of "
                         f"{size} bytes")
    table = {}
    for number in range(count):
        name, offset, length = struct.unpack_from("<48sQQ", head, 32 + 80 * number)
        if offset > size or length > size - offset:
            raise ModelError(f"{path}: section {number} reaches beyond the end of the file")
        table[name.rstrip(b"\0").decode("ascii", "replace")] = (offset, length)
    return table


def read_section(path, table, name):
    if name not in table:
        raise ModelError(f"{path} has no section '{name}'")
    offset, length = table[name]
    if length > ptx.MOST_BYTES:
        raise ModelError(f"{path}: section '{name}' has {length} bytes, more than the {ptx.MOST_BYTES} that are read")
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)


def choose_device(path, manifest, target):
    """The package's code for `target`, or the first that is PTX."""
    devices = [d for d in manifest.get("devices", []) if isinstance(d, dict)]
    usable = [d for d in devices if str(d.get("target", "")).startswith("nvptx") and
              (target is None or d["target"] == target)]
    if not usable:
        names = ", ".join(str(d.get("target")) for d in devices) or "none"
        wanted = target or "an NVIDIA target"
        raise ModelError(f"{path} has no PTX for {wanted} (its devices: {names}); compile it with "
                         f"--target {target or 'nvptx:sm_80'}")
    return usable[0]


def from_package(path, target=None):
    table = section_table(path)
    manifest = parse_json(read_section(path, table, "manifest"), f"the manifest of {path}")
    device = choose_device(path, manifest, target)
    text = decode(read_section(path, table, str(device.get("section"))), f"section '{device.get('section')}' of {path}")
    program = parse_json(read_section(path, table, str(device.get("program"))),
                         f"section '{device.get('program')}' of {path}")
    return Source(str(path), ptx.parse(text, f"{path}, {device['section']}"), text, program, manifest)


def from_files(ptx_path, program_path, manifest_path=None):
    text = decode(read_bytes(ptx_path), ptx_path)
    program = parse_json(read_bytes(program_path), program_path)
    manifest = parse_json(read_bytes(manifest_path), manifest_path) if manifest_path else DEFAULT_MANIFEST
    return Source(str(ptx_path), ptx.parse(text, str(ptx_path)), text, program, manifest)
