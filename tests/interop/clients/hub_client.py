"""What the hubs' own clients make of a cache: hub_client.py CLIENT ENDPOINT CACHE [LOCAL_DIR] prints the snapshot's folder.

CLIENT is huggingface or modelscope; ENDPOINT "offline" allows no request.
"""
import os
import sys

client, endpoint, cache = sys.argv[1:4]
local_dir = sys.argv[4] if len(sys.argv) > 4 else None
offline = endpoint == "offline"
os.environ["no_proxy"] = "127.0.0.1"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
if client == "huggingface":
    os.environ["HF_HUB_OFFLINE"] = "1" if offline else "0"
    if not offline:
        os.environ["HF_ENDPOINT"] = endpoint
    from huggingface_hub import hf_hub_download, snapshot_download

    patterns = ["*.json", "*.safetensors"]
    folder = snapshot_download("owner/name", cache_dir=cache, local_dir=local_dir, allow_patterns=patterns)
    if local_dir is None:
        assert open(hf_hub_download("owner/name", "config.json", cache_dir=cache)).read().startswith("{")
else:
    if not offline:
        os.environ["MODELSCOPE_ENDPOINT"] = endpoint
    from modelscope_hub import HubApi

    folder = HubApi().download_repo("owner/name", "model", cache_dir=cache, local_dir=local_dir,
                                    local_files_only=offline, allow_patterns=["*.json", "*.safetensors"])
print("folder:", folder)
