"""Small communities as they are sampled: of one to five homes, over 24 to 96 MTUs of any length."""

import numpy as np

from controller.plan.sample import sample_community
from optimization.community import Community


def small_community(seed: int, *, most_homes: int = 5, most_mtus: int = 96) -> Community:
    """A sampled community whose size, MTUs, links and transformer chance decides too."""
    random = np.random.default_rng([seed, 4])
    return sample_community(
        int(random.integers(1, most_homes + 1)),
        seed,
        int(random.integers(6, most_mtus // 4 + 1)) * 4,
        mtu_minutes=int(random.choice([15, 30, 60])),
        links=str(random.choice(["neighbours", "none", "all"])),
        transformer=str(random.choice(["binding", "none"])),
    )
