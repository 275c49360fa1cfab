"""Reads what a model is made of: a package, or PTX and a program from files."""
import json
import re
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
    target: str  # nvptx:sm_80
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


def list_of(holder, key, name):
    """The list `key` of `name`'s JSON object `holder`."""
    value = holder.get(key)
    if not isinstance(value, list):
        raise ModelError(f"{name} has no list '{key}'")
    return value


def arch_of(target):
    """sm_80 of nvptx:sm_80; "" where it is no NVIDIA target."""
    match = re.fullmatch(r"nvptx:(sm_\w+)", str(target))
    return match.group(1) if match else ""


def runs_on(made_for, arch):
    """Whether a device of `arch`, as sm_80, takes PTX made for an architecture: that of its own or of an earlier one,
    but sm_90a's runs there alone. A device without an architecture takes all, in place of code of its own."""
    numbers = [re.fullmatch(r"sm_(\d+)", a) for a in (made_for, arch)]
    return not arch or made_for == arch or all(numbers) and int(numbers[0].group(1)) <= int(numbers[1].group(1))


def ptx_devices(path, manifest, target):
    """What the manifest says of the package's PTX: that for `target`, or all, in order of preference."""
    devices = [d for d in list_of(manifest, "devices", f"the manifest of {path}") if isinstance(d, dict)] \
        if "devices" in manifest else []
    usable = [d for d in devices if arch_of(d.get("target")) and target in (None, d["target"])]
    if not usable:
        names = ", ".join(str(d.get("target")) for d in devices) or "none"
        wanted = target or "an NVIDIA target"
        raise ModelError(f"{path} has no PTX for {wanted} (its devices: {names}); compile it with "
                         f"--target {target or 'nvptx:sm_80'}")
    return usable


class Package:
    """The PTX of a package; each target's is read when a device first takes it."""

    def __init__(self, path, target=None):
        self.path, self.table, self.made = path, section_table(path), {}
        self.manifest = parse_json(read_section(path, self.table, "manifest"), f"the manifest of {path}")
        self.devices = ptx_devices(path, self.manifest, target)
        self.targets = [d["target"] for d in self.devices]

    def source(self, device):
        """The first code that `device` takes, None where there is none."""
        found = next((d for d in self.devices if runs_on(arch_of(d["target"]), device.arch)), None)
        if found and found["target"] not in self.made:
            self.made[found["target"]] = self.read(found)
        return self.made[found["target"]] if found else None

    def read(self, found):
        section, program = str(found.get("section")), str(found.get("program"))
        text = decode(read_section(self.path, self.table, section), f"section '{section}' of {self.path}")
        launches = parse_json(read_section(self.path, self.table, program), f"section '{program}' of {self.path}")
        kernels = ptx.parse(text, f"{self.path}, {section}")
        return Source(str(self.path), found["target"], kernels, text, launches, self.manifest)


class Files:
    """PTX and a program of files of their own."""

    def __init__(self, ptx_path, program_path, manifest_path=None):
        self.path, text = ptx_path, decode(read_bytes(ptx_path), ptx_path)
        program = parse_json(read_bytes(program_path), program_path)
        manifest = parse_json(read_bytes(manifest_path), manifest_path) if manifest_path else DEFAULT_MANIFEST
        match = re.search(r"^\s*\.target\s+(sm_\w+)", text, re.M)
        if not match:
            raise ModelError(f"{ptx_path} is no PTX: it has no .target")
        self.targets = [f"nvptx:{match.group(1)}"]
        self.only = Source(str(ptx_path), self.targets[0], ptx.parse(text, str(ptx_path)), text, program, manifest)

    def source(self, device):
        """The code, None where `device` does not take it."""
        return self.only if runs_on(arch_of(self.only.target), device.arch) else None
