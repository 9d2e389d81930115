"""The Hugging Face Hub: what a name stands for there, and its bytes here.

What must stay true: a name is resolved once, to a commit, and everything after that asks for that commit; a model's
identity is read from the Hub's own metadata, never by downloading weights; whatever goes wrong is a `HubError` within
seconds. Importing this package does not import huggingface_hub or datasets (HF_ENDPOINT and HF_HUB_OFFLINE are read
when they are imported, and `.env` has to come first).
"""

from twinctl.hub.hub_datasets import dataset_rows, resolve_dataset
from twinctl.hub.models import HubModel, download_model, is_model_file, resolve_model

__all__ = ["HubModel", "dataset_rows", "download_model", "is_model_file", "resolve_dataset", "resolve_model"]
