"""Qualcomm AI Hub for the kinds that use it: account, uploads, jobs, results, and their errors.

`qai_hub` itself is imported inside functions only. Jobs and uploads go through its `Client`; calls
in which the client prints, hides or loops by itself (downloads, the state of a job) go through its
own REST module, `qai_hub.public_rest_api`.
"""

from plugins.vendor.qai_hub.account import Account, find_account, host
from plugins.vendor.qai_hub.content import content_of
from plugins.vendor.qai_hub.devices import findings
from plugins.vendor.qai_hub.hub import Hub, hub_for
from plugins.vendor.qai_hub.jobs import Job, finished_job
from plugins.vendor.qai_hub.patience import Waiting
from plugins.vendor.qai_hub.results import fetch_model, fetch_outputs
from plugins.vendor.qai_hub.uploads import (
    dataset_name,
    remember_model,
    upload_dataset,
    upload_model,
)

__all__ = [
    "Account",
    "Hub",
    "Job",
    "Waiting",
    "content_of",
    "dataset_name",
    "fetch_model",
    "fetch_outputs",
    "find_account",
    "findings",
    "finished_job",
    "host",
    "hub_for",
    "remember_model",
    "upload_dataset",
    "upload_model",
]
