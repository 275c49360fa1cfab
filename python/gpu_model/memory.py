"""Where the addresses of a launch lie, and what its accesses cost: sectors of 32 bytes, and passes over the banks."""
import numpy as np

REGION_SHIFT = 44  # each region has so many bits of addresses
WEIGHTS, ARENA, CACHE, INPUTS, OUTPUTS = 1, 2, 3, 16, 64
SECTOR = 5  # log2 of its bytes
OF_BLOCK = 46  # bits of a sector's number
BANKS = 32
NOWHERE = np.int64(2 ** 62)


def by_warp(addresses, mask):
    """[warps, 32], NOWHERE for lanes that do not take part."""
    return np.where(mask, addresses, NOWHERE).reshape(-1, 32)


def sectors_of_warps(addresses, mask, size):
    """For each warp how many sectors an access of `size` bytes a lane touches; and all (warp, sector) pairs."""
    first = by_warp(addresses, mask) >> SECTOR
    if size > 32:
        first = np.concatenate([first + i for i in range(size // 32)], axis=1)
    ordered = np.sort(first, axis=1)
    new = np.ones_like(ordered, dtype=bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    new &= ordered < NOWHERE >> SECTOR
    return new.sum(axis=1), ordered, new


def passes_of_warps(addresses, mask, size):
    """For each warp how often its banks of 4 bytes are passed over: lanes that want the same word share it; accesses of
    8 and 16 bytes go by halves and quarters of a warp."""
    unit = max(size, 4)
    lanes = 32 * 4 // unit
    units = by_warp(addresses, mask).reshape(-1, lanes)
    live = units < NOWHERE
    units = units // unit
    ordered = np.sort(np.where(live, units, NOWHERE), axis=1)
    new = ordered < NOWHERE
    new[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    places = 4 * BANKS // unit
    slot = np.where(new, ordered % places, places) + np.arange(len(ordered))[:, None] * (places + 1)
    counts = np.bincount(slot.ravel(), minlength=len(ordered) * (places + 1)).reshape(len(ordered), places + 1)
    passes = counts[:, :places].max(axis=1)
    return passes.reshape(-1, 32 // lanes).sum(axis=1)


class Traffic:
    """Global accesses of the sampled blocks."""

    def __init__(self, blocks):
        self.blocks = blocks
        self.keys = {True: [], False: []}  # loads and stores: block << OF_BLOCK | sector, unique by access
        self.sectors = np.zeros(blocks, dtype=np.int64)  # of all accesses, by block

    def add(self, loads, addresses, mask, size, block_of_warp):
        counts, ordered, new = sectors_of_warps(addresses, mask, size)
        self.sectors += np.bincount(block_of_warp, weights=counts, minlength=self.blocks).astype(np.int64)
        keys = (ordered | block_of_warp[:, None] << OF_BLOCK)[new]
        self.keys[loads].append(np.unique(keys))

    def unique(self, loads):
        """Pairs of block and sector, each once, sorted."""
        parts = self.keys[loads]
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int64)
