"""Communities of realistic devices, of any size, equal for equal arguments."""

from controller.plan.sample.street import Sampling, sample_community, write_sample

__all__ = ["Sampling", "sample_community", "write_sample"]
